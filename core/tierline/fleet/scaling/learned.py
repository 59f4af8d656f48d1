"""What must survive the operator: spot history, the latency model's coefficients by model and accelerator, how long
workers take to start, and which nodes have which models.

Written as JSON into a ConfigMap. What cannot be read is forgotten: it is learned anew, and never worth failing for.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tierline.fleet.placement.market import Market
from tierline.fleet.placement.spot_history import MAX_MARKETS, MarketRecord, SpotHistory
from tierline.fleet.placement.weights import MOST_NODES, NodeWeights
from tierline.fleet.scaling.cold_starts import LONGEST_SECONDS, MOST_KEYS, ColdStarts, StartKey, StartTime
from tierline.scheduling.latency import Coefficients, published

VERSION = 1
MOST_MODELS = 128

ModelKey = tuple[str, str]
"""Model source and accelerator."""


@dataclass(frozen=True, slots=True)
class Learned:
    """All of it."""

    history: SpotHistory = field(default_factory=SpotHistory)
    coefficients: Mapping[ModelKey, Coefficients] = field(default_factory=dict)
    starts: ColdStarts = field(default_factory=ColdStarts)
    weights: NodeWeights = field(default_factory=NodeWeights)

    def taught(self, key: ModelKey, coefficients: Coefficients) -> "Learned":
        """Return what is known once a model's coefficients were measured on an accelerator; the oldest goes."""
        others = {known: it for known, it in self.coefficients.items() if known != key}
        kept = dict([*others.items()][-(MOST_MODELS - 1) :])
        return replace(self, coefficients={**kept, key: coefficients})


def write_learned(learned: Learned) -> str:
    """Return the text to keep; figures are rounded, so that it changes only when its meaning does."""
    history = learned.history
    return json.dumps(
        {
            "version": VERSION,
            "markets": [
                {
                    "zone": market.zone,
                    "accelerator": market.accelerator,
                    "interruptions": _rounded(record.interruptions),
                    "nodeHours": _rounded(record.node_hours),
                    "atMs": record.at_ms,
                    "failures": record.failures,
                    "shunnedUntilMs": record.shunned_until_ms,
                    "preempted": market in history.preempted,
                }
                for market, record in sorted(history.records.items())
            ],
            "models": [
                {"model": model, "accelerator": accelerator, "coefficients": [_rounded(it) for it in coefficients]}
                for (model, accelerator), coefficients in learned.coefficients.items()
            ],
            "starts": [
                {
                    "model": key.model,
                    "accelerator": key.accelerator,
                    "warm": key.warm,
                    "meanSeconds": _rounded(it.mean_seconds),
                    "deviationSeconds": _rounded(it.deviation_seconds),
                    "samples": it.samples,
                }
                for key, it in learned.starts.times.items()
            ],
            "nodes": [{"name": name, "models": dict(models)} for name, models in learned.weights.nodes.items()],
        }
    )


def read_learned(text: str) -> Learned:
    """Return what the text says; nothing when it says nothing that we understand."""
    try:
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("version") != VERSION:
            return Learned()
        return Learned(
            _history(told["markets"][:MAX_MARKETS]),
            dict(map(_model, told["models"][:MOST_MODELS])),
            # An operator of a former version wrote neither.
            ColdStarts(dict(map(_start, told.get("starts", [])[:MOST_KEYS]))),
            _weights(told.get("nodes", [])[:MOST_NODES]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Learned()


def _history(markets: list[Mapping[str, Any]]) -> SpotHistory:
    records: dict[Market, MarketRecord] = {}
    preempted: set[Market] = set()
    for it in markets:
        market = Market(str(it["zone"]), str(it["accelerator"]))
        counts = float(it["interruptions"]), float(it["nodeHours"])
        if not all(math.isfinite(count) and count >= 0 for count in counts):
            raise ValueError("counts must be finite and at least 0")
        records[market] = MarketRecord(*counts, int(it["atMs"]), int(it["failures"]), int(it["shunnedUntilMs"]))
        if it["preempted"]:
            preempted.add(market)
    return SpotHistory(records, frozenset(preempted))


def _model(it: Mapping[str, Any]) -> tuple[ModelKey, Coefficients]:
    coefficients = published([float(value) for value in it["coefficients"]])
    if coefficients is None:
        raise ValueError("no usable coefficients")
    return (str(it["model"]), str(it["accelerator"])), coefficients


def _start(it: Mapping[str, Any]) -> tuple[StartKey, StartTime]:
    seconds = float(it["meanSeconds"]), float(it["deviationSeconds"])
    if not all(math.isfinite(value) and 0 <= value <= LONGEST_SECONDS for value in seconds):
        raise ValueError("times must be finite and not longer than what is learned")
    key = StartKey(str(it["model"]), str(it["accelerator"]), bool(it["warm"]))
    return key, StartTime(*seconds, int(it["samples"]))


def _weights(nodes: list[Mapping[str, Any]]) -> NodeWeights:
    return NodeWeights(
        {str(it["name"]): {str(source): int(size) for source, size in it["models"].items()} for it in nodes}
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
