"""What clients and gateway saw becomes records, and a verdict that finds every broken promise."""

from dataclasses import replace

import msgspec
import pytest

from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import ClusterFacts, Outcome, Reclaim, TenantShare, TierTarget
from tierline.telemetry.scorecard import build_scorecard
from tierline_cli.demo.client import Observation
from tierline_cli.demo.evidence import Evidence, to_record
from tierline_cli.demo.gateway_debug import JournalEntry, JournalMove
from tierline_cli.demo.verdict import problems_of

IDS = (11, 12, 13, 14)
RECLAIM = Reclaim("spot-b", "w1", 10, 20, ("r1",))
FACTS = ClusterFacts(100, (TierTarget("fast", 50, 50),), (TenantShare("acme"),), reclaims=(RECLAIM,))


def observation(**changes: object) -> Observation:
    seen = Observation(PlannedRequest(0, "acme", "fast", 5, 4), "Hello", 1.0)
    defaults = {
        "request_id": "r1",
        "token_ids": list(IDS),
        "token_times_ms": [5.0, 9.0, 14.0, 16.0],
        "prompt_tokens": 7,
        "completion_tokens": 4,
        "outcome": Outcome.OK,
    }
    for name, value in (defaults | changes).items():
        setattr(seen, name, value)
    return seen


def evidence(seen: Observation | None = None, **changes: object) -> Evidence:
    journal = JournalEntry("r1", "w2", 7, IDS, 9, 0, (JournalMove("Evacuation", "w1", "w2", 2),))
    base = Evidence(seen or observation(), journal, IDS)
    return replace(base, **changes)  # type: ignore[arg-type]


def problems(each: Evidence, reclaim: Reclaim | None = RECLAIM) -> str:
    record = to_record(each, each.audit(), reclaim)
    return "; ".join(problems_of(build_scorecard([record], FACTS), [each], reclaim))


def test_a_moved_stream_is_split_at_its_move() -> None:
    record = to_record(evidence(), evidence().audit(), RECLAIM)
    first, second = record.placements
    assert (first.worker, first.started_ms, first.ended_ms, first.recomputed_tokens) == ("w1", 5, 9, 0)
    assert (second.worker, second.started_ms, second.ended_ms, second.recomputed_tokens) == ("w2", 14, 16, 9)
    assert record.interrupted
    assert record.prompt_tokens == 7


def test_a_clean_run_has_no_problem() -> None:
    assert problems(evidence()) == ""


def test_no_reclaim_is_a_problem() -> None:
    assert "no spot node was reclaimed" in problems(evidence(), None)


def test_a_stream_that_did_not_move_is_a_problem() -> None:
    stayed = msgspec.structs.replace(evidence().journal, moves=(), last_worker="w1")
    assert "no stream that was mid-decode on w1 was moved" in problems(evidence(journal=stayed))


def test_a_failed_request_is_named_with_its_error() -> None:
    failed = observation(
        outcome=Outcome.FAILED, detail="APIConnectionError: gone", token_ids=[11], token_times_ms=[5.0]
    )
    told = problems(evidence(failed))
    assert "1 requests failed (r1: APIConnectionError: gone)" in told
    assert "3 tokens lost" in told


@pytest.mark.parametrize(
    ("received", "told"),
    [
        ([11, 12, 13], "1 tokens lost, 0 doubled"),
        ([11, 12, 12, 13, 14], "0 tokens lost, 1 doubled"),
        ([11, 12, 12, 13], "0 tokens lost, 1 doubled"),
        ([11, 12, 99, 98], "other tokens"),
    ],
)
def test_wrong_tokens_are_a_problem(received: list[int], told: str) -> None:
    seen = observation(token_ids=received, token_times_ms=[float(5 + at) for at in range(len(received))])
    assert told in problems(evidence(seen))


def test_a_stream_that_could_not_be_repeated_is_a_problem() -> None:
    assert "ids could not be compared" in problems(evidence(undisturbed_ids=None))


def test_a_missing_journal_is_a_problem() -> None:
    assert "the gateway has no journal of r1" in problems(evidence(journal=None))


def test_a_refused_request_lost_nothing() -> None:
    refused = observation(outcome=Outcome.REJECTED, token_ids=[], token_times_ms=[], prompt_tokens=None)
    each = Evidence(refused, None)
    assert to_record(each, each.audit(), RECLAIM).lost_tokens == 0
