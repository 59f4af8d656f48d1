"""A node tells that it lives by its lease, and its status now and then."""

from collections import Counter
from typing import Any

import pytest

from tierline_devcluster.agent.node.keeper import NodeKeeper
from tierline_devcluster.nodes import NodeSpec


class Patched:
    """An API server that counts what is patched."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    async def patch(self, path: str, _body: object) -> None:
        self.counts["status" if path.endswith("/status") else "lease"] += 1


@pytest.mark.parametrize(("period_s", "statuses"), [(300.0, 1), (0.0, 3)])
async def test_a_status_is_told_once_in_its_period_and_the_lease_at_each_beat(period_s: float, statuses: int) -> None:
    api: Any = Patched()
    keeper = NodeKeeper(api, NodeSpec("a", "zone-a"), 1, lease_period_s=10.0, status_period_s=period_s)
    for _ in range(3):
        await keeper._beat()
    assert api.counts == {"lease": 3, "status": statuses}
