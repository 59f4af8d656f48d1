"""A tier's promise beside a flood of another tier: fair counters share tokens, they do not keep a neighbour's pace."""

from dataclasses import dataclass

import numpy as np
import pytest
from simulated_fleets import run_fleet, source, tier

TPOT_MS = 15
BULK = tier("bulk", 50, "Throughput", 600_000, tpotMilliseconds={"p95": 400})
BULK["spec"]["admission"]["overload"] = "Defer"
TIGHT = tier("tight", 100, "Latency", 10_000, ttftMilliseconds={"p95": 1000}, tpotMilliseconds={"p95": TPOT_MS})


@dataclass(frozen=True)
class Victim:
    """What the small tenant of the tight tier got; unserved requests count as never."""

    ttft_p99_ms: float
    tpot_p95_ms: float


def beside(**flood: int) -> Victim:
    result = run_fleet(
        "tierline",
        seconds=20,
        tiers=[TIGHT, BULK],
        tenants=[{"name": "victim"}, {"name": "flood"}],
        traffic=[
            source("victim", "tight", 4, promptTokens=512, outputTokens=128),
            *([source("flood", "bulk", 40, **flood)] if flood else []),
        ],
    )
    records = [record for record in result.records if record.tenant == "victim"]
    ttft_ms = [np.inf if record.ttft_ms is None else record.ttft_ms for record in records]
    tokens_ms = [record.token_times_ms for record in records if len(record.token_times_ms) > 1]
    tpot_ms = [(times[-1] - times[0]) / (len(times) - 1) for times in tokens_ms]
    return Victim(float(np.percentile(ttft_ms, 99)), float(np.percentile(tpot_ms, 95)))


@pytest.mark.parametrize(
    ("kind", "flood"),
    [
        ("prompts", {"promptTokens": 2048, "outputTokens": 256}),
        ("answers", {"promptTokens": 256, "outputTokens": 1024}),
    ],
)
def test_a_tight_tier_keeps_its_pace_beside_a_flood(kind: str, flood: dict[str, int], record_effect) -> None:
    alone, crowded = beside(), beside(**flood)
    record_effect(
        f"I1_ttft_beside_{kind}",
        value=crowded.ttft_p99_ms / alone.ttft_p99_ms,
        threshold=6.0,
        unit="x of p99 TTFT alone",
        at_least=False,
    )
    record_effect(f"I1_tpot_beside_{kind}", value=crowded.tpot_p95_ms, threshold=TPOT_MS, unit="ms p95", at_least=False)
