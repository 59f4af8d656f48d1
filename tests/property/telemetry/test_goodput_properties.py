"""Goodput is a share, and cannot be improved by dropping requests or holding tokens back."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tierline.telemetry.goodput import demands, goodput
from tierline.telemetry.records import Outcome, RequestRecord, TierTarget

TIERS = ("fast", "batch")
LIMITS = st.none() | st.floats(1, 500)
TARGETS = st.fixed_dictionaries({name: st.builds(TierTarget, st.just(name), LIMITS, LIMITS, LIMITS) for name in TIERS})


@st.composite
def requests(draw: st.DrawFn) -> RequestRecord:
    outcome = draw(st.sampled_from(Outcome))
    served = outcome in {Outcome.OK, Outcome.FAILED}
    gaps = draw(st.lists(st.floats(0, 200), max_size=8)) if served else []
    arrived = draw(st.floats(0, 100))
    times = tuple(arrived + sum(gaps[: index + 1]) for index in range(len(gaps)))
    demanded = len(times) + draw(st.integers(0, 3)) if served else draw(st.none() | st.integers(1, 9))
    return RequestRecord(
        "", draw(st.sampled_from("ab")), draw(st.sampled_from(TIERS)), arrived, 4, demanded, outcome, times
    )


RUNS = st.lists(requests(), min_size=1, max_size=8).map(
    lambda run: [replace(record, request_id=str(index)) for index, record in enumerate(run)]
)


@given(RUNS, TARGETS)
def test_goodput_is_a_share(run: list[RequestRecord], targets: dict[str, TierTarget]) -> None:
    value = goodput(run, targets, demands(run))
    assert 0 <= value.tokens <= 1
    assert 0 <= value.requests <= 1


@given(RUNS, TARGETS, st.integers(0, 7), st.floats(0, 300))
def test_holding_tokens_back_never_helps(
    run: list[RequestRecord], targets: dict[str, TierTarget], which: int, delay_ms: float
) -> None:
    victim = run[which % len(run)]
    held = replace(victim, token_times_ms=tuple(moment + delay_ms for moment in victim.token_times_ms))
    slower = [held if record is victim else record for record in run]
    before, after = goodput(run, targets, demands(run)), goodput(slower, targets, demands(slower))
    assert after.tokens <= before.tokens
    assert after.requests <= before.requests


@given(RUNS, TARGETS, st.integers(0, 7))
def test_refusing_a_served_request_of_known_length_never_helps(
    run: list[RequestRecord], targets: dict[str, TierTarget], which: int
) -> None:
    victim = run[which % len(run)]
    refused = replace(victim, outcome=Outcome.REJECTED, token_times_ms=())
    dropped = [refused if record is victim else record for record in run]
    before, after = goodput(run, targets, demands(run)), goodput(dropped, targets, demands(dropped))
    assert after.tokens <= before.tokens
    assert after.requests <= before.requests


@given(RUNS, TARGETS, st.floats(1, 10))
def test_looser_targets_never_hurt(run: list[RequestRecord], targets: dict[str, TierTarget], factor: float) -> None:
    loose = {
        name: replace(
            target,
            **{
                field: None if getattr(target, field) is None else getattr(target, field) * factor
                for field in ("ttft_ms", "tpot_ms", "deadline_ms")
            },
        )
        for name, target in targets.items()
    }
    demanded = demands(run)
    before, after = goodput(run, targets, demanded), goodput(run, loose, demanded)
    assert after.tokens >= before.tokens
    assert after.requests >= before.requests


@given(RUNS, TARGETS)
def test_every_refused_request_demands_something(run: list[RequestRecord], targets: dict[str, TierTarget]) -> None:
    demanded = demands(run)
    assert all(demanded[record.request_id] >= 1 for record in run if record.outcome is Outcome.REJECTED)
