"""While a drill blacks a fleet's metrics out, the operator has none of it, and of no other fleet."""

import pytest
from api_server_in_memory import wired
from crashing_operator import START_MS, CrashWorld

from tierline.fleet.moments import rfc3339
from tierline_operator.drill_reconciling import is_blacked_out
from tierline_operator.kinds import FLEET_DRILL


@pytest.mark.parametrize(
    ("holds", "fleet", "kind", "after_ms", "finished"),
    [
        (True, "chat", "MetricsBlackout", 9_000, False),
        (False, "chat", "MetricsBlackout", 10_000, False),
        (False, "chat", "MetricsBlackout", 9_000, True),
        (False, "chat", "WorkerKill", 9_000, False),
        (False, "other", "MetricsBlackout", 9_000, False),
    ],
)
def test_metrics_are_ignored_while_the_drill_lasts(holds, fleet, kind, after_ms, finished):
    world = CrashWorld()
    world.put("FleetDrill", "d", {"fleetRef": "chat", "kind": kind, "seconds": 10})
    drill = world.server.objects[FLEET_DRILL.path("demo", "d")]
    begun = {"started": rfc3339(START_MS)} | ({"finished": rfc3339(START_MS + 1000)} if finished else {})
    world.server.put({**drill, "status": begun})
    _, stores, _ = wired(world.server)
    assert is_blacked_out(stores, "demo", fleet, START_MS + after_ms) is holds


def test_a_drill_that_has_not_begun_blacks_nothing_out():
    world = CrashWorld()
    world.put("FleetDrill", "d", {"fleetRef": "chat", "kind": "MetricsBlackout"})
    _, stores, _ = wired(world.server)
    assert not is_blacked_out(stores, "demo", "chat", START_MS)
