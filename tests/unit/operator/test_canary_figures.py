"""How the operator reads from the gateways how canaries fare."""

import pytest
from prometheus_client import generate_latest
from served_instruments import served_instruments

from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline_gateway.instruments import Instruments
from tierline_operator.canary_figures import Change, GatewayFigures, counts_in

HOST = "127.91.7.3"


def change(**asked):
    standard = {"pool_uid": "uid", "pool": "chat-main", "stable": "old", "target": "new", "gateways": {"g-1": HOST}}
    return Change(**{**standard, **asked})


@pytest.fixture
async def gateway():
    async with served_instruments(HOST) as instruments:
        yield instruments


def ended(instruments, revision, outcome, count, pool="chat-main"):
    instruments.revision_requests.labels("gold", pool, revision, outcome).inc(count)


async def test_only_what_happened_since_the_change_counts(gateway):
    ended(gateway, "old", "missed", 50)
    ended(gateway, "new", "failed", 7)
    source = GatewayFigures()
    assert await source.figures(change()) == CanaryFigures({}, {})
    ended(gateway, "old", "met", 20)
    ended(gateway, "new", "met", 8)
    ended(gateway, "new", "missed", 1)
    ended(gateway, "new", "failed", 1)
    ended(gateway, "new", "failed", 9, pool="other")
    assert await source.figures(change()) == CanaryFigures({"gold": TierFigures(10, 2)}, {"gold": TierFigures(20, 0)})


async def test_another_change_starts_from_its_own_base(gateway):
    source = GatewayFigures()
    await source.figures(change())
    ended(gateway, "new", "met", 5)
    assert await source.figures(change(target="newer")) == CanaryFigures({}, {})
    source.forget("uid")
    assert await source.figures(change()) == CanaryFigures({}, {})


async def test_a_gateway_that_does_not_answer_is_left_out_and_none_answering_is_no_figures(gateway):
    source = GatewayFigures()
    silent = {"g-2": "127.91.7.4"}
    assert await source.figures(change(gateways={"g-1": HOST, **silent})) == CanaryFigures({}, {})
    assert await source.figures(change(gateways=silent)) is None
    assert await source.figures(change(gateways={})) is None


def test_other_metrics_are_no_requests():
    assert counts_in(generate_latest(Instruments().registry).decode()) == {}
