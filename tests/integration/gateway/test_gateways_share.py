"""Three gateway processes, one worker, a real Redis: shares hold wherever requests come in and whatever dies."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from gateway_trio import PROMPT_TOKENS, TOKENS, Fleet, Gateway, series, shares_with, skewed, three, until
from redis_testing import RedisServer
from shared_worker import SharedWorker

OFF_WEIGHTS = 0.02
ALLOWED = 500
"""Of a counter's tokens: requests on their way, and what the gateways serve between two exchanges."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def fleet(store: RedisServer) -> AsyncIterator[Fleet]:
    worker = SharedWorker()
    await worker.start()
    made = Fleet(store, worker)
    yield made
    await made.close()


async def weights_hold(fleet: Fleet) -> None:
    """Counters make up for an exchange that came late, so the longer one looks the nearer are the weights.

    Without shared counters they are 1:2 for however long one looks.
    """
    before = fleet.worker.contested.copy()
    await fleet.served_within(200 * TOKENS)

    def off() -> float:
        served = fleet.worker.contested - before
        return abs(served["acme"] / served["zeta"] / 4 - 1)

    await until(lambda: off() <= OFF_WEIGHTS, 180)


async def counted(gateway: Gateway) -> float:
    return series(await gateway.admin("metrics"), "tierline_tenant_service_tokens")


async def test_weights_hold_wherever_requests_come_in_and_whatever_dies(fleet: Fleet) -> None:
    first, _, third = await skewed(fleet)
    busy, iterations = fleet.worker.busy_slots, fleet.worker.iterations
    await weights_hold(fleet)
    used = (fleet.worker.busy_slots - busy) / (fleet.worker.iterations - iterations) / fleet.worker.slots
    assert used > 0.7

    before = await counted(first)
    fleet.store.kill()
    await shares_with(first, 0)
    assert "the shared store does not answer" in await first.admin("readyz")
    alone = await fleet.served_within(50 * TOKENS)
    assert min(alone["acme"], alone["zeta"]) > 0

    fleet.store.start()
    await shares_with(first, 3)
    # Alone they were served 1:2, so the one with the low weight pays back first: for how long depends on how long the
    # store was away.
    served = await fleet.served_within(150 * TOKENS)
    assert served["acme"] > 2 * served["zeta"]
    # A new store was told what each gateway knew: counters went on from there, and nothing was counted twice. Whoever
    # for a moment does not wait is lifted to the other's counter, so no counter is above the higher one.
    cost = PROMPT_TOKENS + 2 * TOKENS
    service = max(fleet.worker.started["acme"] * cost / 4, fleet.worker.started["zeta"] * cost)
    assert before < await counted(first) < 1.1 * service + ALLOWED

    assert fleet.refused == 0
    await third.kill()
    await shares_with(first, 2)
    # When that is paid back it is its turn again.
    seen = fleet.worker.started["zeta"]
    await until(lambda: fleet.worker.started["zeta"] >= seen + 5)


async def test_a_quota_is_enforced_once_by_all_gateways(fleet: Fleet) -> None:
    """Each of three gateways alone would let as many through as the limit says."""
    limit = 30
    gateways = await three(fleet, f"acme=1,{limit}")
    for gateway in gateways:
        await shares_with(gateway, 3)
        fleet.keep_asking(gateway, "acme", 2)
    await until(lambda: fleet.refused > 90)
    assert 0.5 * limit < fleet.taken < 1.5 * limit
