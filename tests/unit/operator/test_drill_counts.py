"""What drills read from gateways: every tenant's requests by tier, and a flood's apart."""

import pytest
from served_instruments import served_instruments

from tierline.fleet.drills.counts import TierCounts
from tierline_operator.drill_counts import counted

HOST, SILENT = "127.91.8.3", "127.91.8.4"


@pytest.fixture
async def gateway():
    async with served_instruments(HOST) as instruments:
        yield instruments


async def test_counts_are_by_tier_and_a_floods_tenant_is_counted_apart(gateway):
    for tenant, outcome, count in (
        ("acme", "stop", 5),
        ("bolt", "length", 3),
        ("acme", "failed", 1),
        ("acme", "refused", 2),
        ("acme", "cancelled", 40),
        ("drill", "stop", 70),
        ("drill", "refused", 30),
    ):
        gateway.requests.labels("gold", tenant, outcome).inc(count)
    gateway.missed.labels("gold", "bolt").inc(2)
    gateway.lost.labels("gold", "acme").inc(6)
    gateway.lost.labels("gold", "drill").inc(600)
    gateway.ttft.labels("gold", "acme").observe(0.2)
    gateway.ttft.labels("gold", "drill").observe(50)
    told = await counted({"g-1": HOST}, "chat", "drill")
    gold = told.tiers["gold"]
    assert told.flooded == 100
    assert (gold.requests, gold.missed, gold.failed, gold.refused, gold.lost_tokens) == (11, 2, 1, 2, 6)
    assert 100 < gold.ttft_ms(99) <= 250
    assert gold.tpot_ms(50) is None


async def test_a_part_of_the_gateways_is_not_enough(gateway):
    gateway.requests.labels("gold", "acme", "stop").inc()
    assert (await counted({"g-1": HOST}, "chat", "")).tiers == {"gold": TierCounts(requests=1)}
    assert await counted({"g-1": HOST, "g-2": SILENT}, "chat", "") is None
    assert await counted({}, "chat", "") is None
