"""The pace that a worker tells is that of who is here now."""

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits, EngineRequest


def test_the_tightest_pace_follows_who_comes_and_goes() -> None:
    core = SchedulerCore(EngineLimits(4, 64, 128, 16, 32), LatencyModel(Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5)))
    assert core.headroom.pace_budget_ms == 0.0
    core.submit(EngineRequest("loose", 8, 8, tpot_budget_ms=100.0))
    core.submit(EngineRequest("tight", 8, 8, tpot_budget_ms=40.0))
    assert core.headroom.pace_budget_ms == 40.0
    core.cancel("tight")
    assert core.headroom.pace_budget_ms == 100.0
    core.cancel("loose")
    assert core.headroom.pace_budget_ms == 0.0
