"""The scorecard's schema, its honesty about what is unknown, and its numbers on a run small enough to do by hand."""

import json
from dataclasses import replace

import pytest

from tierline.telemetry.cost import PriceTable
from tierline.telemetry.records import (
    ClusterFacts,
    NodeUse,
    Outcome,
    Placement,
    Reclaim,
    RequestRecord,
    TenantShare,
    TierTarget,
    WorkerSample,
)
from tierline.telemetry.scorecard import UnknownName, build_scorecard

FAST = TierTarget("fast", ttft_ms=100, tpot_ms=10, attainment_percent=95)
BATCH = TierTarget("batch", deadline_ms=1000)


def record(name: str = "a", **changes: object) -> RequestRecord:
    base = RequestRecord(
        request_id=name,
        tenant="acme",
        tier="fast",
        arrived_ms=0,
        prompt_tokens=5,
        demanded_tokens=3,
        outcome=Outcome.OK,
        token_times_ms=(50, 60, 70),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def facts(**changes: object) -> ClusterFacts:
    base = ClusterFacts(duration_ms=1000, tiers=(FAST, BATCH), tenants=(TenantShare("acme", 2), TenantShare("zeta", 1)))
    return replace(base, **changes)  # type: ignore[arg-type]


def document(*records: RequestRecord, **changes: object) -> dict:
    return build_scorecard(records, facts(**changes)).document()


def test_every_field_of_schema_version_1_is_there() -> None:
    card = document(record())
    assert card["schema_version"] == 1
    assert set(card["tiers"]["fast"]) >= {"ttft_ms", "tpot_ms", "attainment", "goodput"}
    assert set(card["tiers"]["fast"]["ttft_ms"]) >= {"p50", "p95", "p99", "n"}
    assert set(card["tail"]) >= {"gap_over_5x_median_share", "stalls_over_1s"}
    assert set(card["throughput"]) == {"output_tokens_per_second", "total_tokens_per_second"}
    assert set(card["goodput"]) == {"tokens", "requests"}
    assert set(card["resources"]) >= {
        "device_busy",
        "sm_occupancy",
        "kv_used",
        "kv_internal_fragmentation",
        "kv_external_fragmentation",
        "offload_bytes_per_second",
        "offload_utilization",
    }
    assert set(card["tenants"]["acme"]) >= {"served_tokens", "weight", "service_ratio"}
    assert "max_service_difference_tokens" in card["fairness"]
    assert set(card["cost"]) >= {"dollars_per_million_tokens", "dollars_per_million_goodput_tokens", "spot_share"}
    assert set(card["spot"]) >= {
        "interruptions",
        "requests_failed",
        "tokens_lost",
        "tokens_doubled",
        "tokens_recomputed",
        "added_stall_ms_p99",
    }
    assert set(card["requests"]) == {"total", "ok", "rejected", "deferred", "failed"}


def test_every_null_has_its_reason_beside_it_and_the_document_is_strict_json() -> None:
    def check(node: object) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                assert value is not None or node[f"{key}_reason"]
                check(value)

    card = document(record())
    check(card)
    json.dumps(card, allow_nan=False)


def test_p99_needs_a_hundred_samples() -> None:
    few = document(*(record(str(index)) for index in range(99)))
    many = document(*(record(str(index)) for index in range(100)))
    assert few["tiers"]["fast"]["ttft_ms"]["p99"] is None
    assert "99 samples" in few["tiers"]["fast"]["ttft_ms"]["p99_reason"]
    assert many["tiers"]["fast"]["ttft_ms"]["p99"] == 50


def test_latencies_by_hand() -> None:
    fast = document(record())["tiers"]["fast"]
    assert fast["ttft_ms"]["p50"] == 50
    assert fast["tpot_ms"]["p50"] == 10
    assert fast["attainment"] == 1
    assert fast["goodput"] == 1


def test_a_refused_request_demands_the_median_of_its_tenant_and_tier() -> None:
    refused = record("r", outcome=Outcome.REJECTED, demanded_tokens=None, token_times_ms=())
    card = document(record("a"), refused)
    assert card["goodput"] == {"tokens": 0.5, "requests": 0.5}
    assert card["requests"]["rejected"] == 1


def test_unserved_requests_are_infinitely_late() -> None:
    refused = record("r", outcome=Outcome.REJECTED, demanded_tokens=None, token_times_ms=())
    ttft = document(record("a"), refused)["tiers"]["fast"]["ttft_ms"]
    assert ttft["n"] == 2
    assert ttft["p50"] == 50
    assert ttft["p95"] is None
    assert "never served" in ttft["p95_reason"]


def test_each_token_has_its_own_deadline() -> None:
    late_last = record(token_times_ms=(50, 60, 121))
    assert document(late_last)["goodput"]["tokens"] == pytest.approx(2 / 3, abs=1e-4)


def test_a_batch_tier_counts_against_its_deadline_only() -> None:
    in_time = record(tier="batch", token_times_ms=(900, 950, 1000))
    too_late = record(tier="batch", token_times_ms=(900, 950, 1001))
    assert document(in_time)["goodput"] == {"tokens": 1.0, "requests": 1.0}
    assert document(too_late)["goodput"] == {"tokens": 0.6667, "requests": 0.0}


def test_spot_numbers_come_from_the_interrupted_streams() -> None:
    moved = record(
        token_times_ms=(50, 60, 1570),
        interrupted=True,
        placements=(Placement("w1", 0, 60), Placement("w2", 60, 1570, recomputed_tokens=7)),
    )
    spot = document(moved, reclaims=(Reclaim("n", "w1", 55, 63, ("a",)),))["spot"]
    assert spot["interruptions"] == 1
    assert spot["requests_failed"] == 0
    assert spot["tokens_recomputed"] == 7
    assert spot["added_stall_ms_p99"] is None
    assert "the largest was 750 ms" in spot["added_stall_ms_p99_reason"]


def test_a_failed_interrupted_request_shows() -> None:
    failed = record(outcome=Outcome.FAILED, interrupted=True, token_times_ms=(50,), lost_tokens=2)
    card = document(failed, reclaims=(Reclaim("n", "w1", 55, 63),))
    assert card["spot"]["requests_failed"] == 1
    assert card["spot"]["tokens_lost"] == 2
    assert card["requests"]["failed"] == 1


def test_cost_spreads_the_nodes_over_the_tokens() -> None:
    nodes = (NodeUse("a", "z", "on-demand", 3600), NodeUse("b", "z", "spot", 3600))
    prices = PriceTable(on_demand_cents_per_hour=90, spot_cents_per_hour=10)
    cost = build_scorecard([record()], facts(nodes=nodes), prices).document()["cost"]
    assert cost["spot_share"] == 0.5
    assert cost["dollars_per_million_tokens"] == pytest.approx(1 / 3 * 1e6, rel=1e-6)


def test_resources_are_means_over_active_workers() -> None:
    samples = (
        WorkerSample(0, "w", running_requests=0, waiting_requests=0, kv_used_share=0.0),
        WorkerSample(1, "w", running_requests=1, waiting_requests=0, kv_used_share=0.5),
    )
    assert document(record(), samples=samples)["resources"]["kv_used"] == 0.5


def test_an_empty_run_has_a_scorecard() -> None:
    card = document()
    assert card["requests"]["total"] == 0
    assert card["tiers"]["fast"]["ttft_ms"]["p50"] is None


@pytest.mark.parametrize(("field", "value"), [("tier", "gold"), ("tenant", "nobody")])
def test_an_unknown_name_is_told(field: str, value: str) -> None:
    with pytest.raises(UnknownName, match=value):
        document(record(**{field: value}))
