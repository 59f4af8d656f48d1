import json

import pytest
from placing import market

from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.placement.weights import NodeWeights
from tierline.fleet.scaling.cold_starts import ColdStarts, StartKey
from tierline.fleet.scaling.learned import MOST_MODELS, Learned, read_learned, write_learned
from tierline.scheduling.latency import Coefficients

HOUR = 3_600_000
HISTORY = (
    SpotHistory()
    .observed(HOUR, {market("a", "h100"): 4}, {})
    .observed(2 * HOUR, {market("a", "h100"): 4}, {market("a", "h100"): 1})
    .reclaimed(market("a", "h100"), [market(zone, "h100") for zone in "abc"])
    .failed(market("b", "h100"), [market(zone, "h100") for zone in "abcd"], 2 * HOUR)
)


def test_what_was_learned_survives():
    learned = Learned(
        HISTORY,
        starts=ColdStarts().observed(StartKey("pypi://m", "h100", True), 12.0),
        weights=NodeWeights().told("n1", {"pypi://m": 98_000_000}),
    ).taught(("pypi://m", "h100"), Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5))
    found = read_learned(write_learned(learned))
    assert (found.starts, found.weights) == (learned.starts, learned.weights)
    assert found.coefficients == learned.coefficients
    assert found.history.preempted == HISTORY.preempted
    assert found.history.records[market("b", "h100")].failures == 1
    rates = [it.records[market("a", "h100")].interruptions_per_hour for it in (found.history, HISTORY)]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)
    assert write_learned(found) == write_learned(learned)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        json.dumps({"version": 2, "markets": [], "models": []}),
        json.dumps({"version": 1, "markets": [{}], "models": []}),
        json.dumps({"version": 1, "markets": [], "models": [{"model": "m", "accelerator": "", "coefficients": [1]}]}),
        json.dumps({"version": 1, "markets": 7, "models": None}),
        json.dumps({"version": 1, "markets": [], "models": [], "starts": [{"model": "m"}]}),
        json.dumps({"version": 1, "markets": [], "models": [], "nodes": [{"name": "n1", "models": 3}]}),
    ],
)
def test_what_cannot_be_read_is_forgotten(text):
    assert read_learned(text) == Learned()


def test_what_a_former_version_wrote_is_read():
    written = json.loads(write_learned(Learned(HISTORY)))
    del written["starts"], written["nodes"]
    assert read_learned(json.dumps(written)).history.preempted == HISTORY.preempted


def test_only_so_many_models_are_kept_and_the_oldest_goes():
    learned = Learned()
    for index in range(MOST_MODELS + 1):
        learned = learned.taught((f"m{index}", ""), Coefficients(1, 1, 1, 1, 1))
    assert len(learned.coefficients) == MOST_MODELS
    assert ("m0", "") not in learned.coefficients
