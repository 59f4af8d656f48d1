"""Charged in advance or as it comes: in the end a tenant has paid for what it got, nothing more or less."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.admission.lengths import OutputLengthPredictor
from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import OUTPUT_WEIGHT, PROMPT_WEIGHT, QueuedRequest


@dataclass(frozen=True)
class Served:
    """One request: what was expected of it, in what pieces its answer came, and how often a worker refused it."""

    prompt_tokens: int
    expected_tokens: float
    pieces: tuple[int, ...]
    refusals: int
    moved: bool


SERVED = st.builds(
    Served,
    st.integers(1, 5000),
    st.floats(0, 5000),
    st.lists(st.integers(1, 300), max_size=5).map(tuple),
    st.integers(0, 2),
    st.booleans(),
)


@given(st.lists(SERVED, max_size=8), st.integers(1, 4))
def test_the_counter_ends_at_exactly_what_was_served(requests: list[Served], weight: int) -> None:
    queue = QueueManager()
    for number, served in enumerate(requests):
        _serve(queue, f"r{number}", served, weight)
    due = sum(PROMPT_WEIGHT * served.prompt_tokens + OUTPUT_WEIGHT * sum(served.pieces) for served in requests)
    assert abs(queue.counter("a") - due / weight) < 1e-6 * max(due, 1)


def _serve(queue: QueueManager, request_id: str, served: Served, weight: int) -> None:
    queued = _queued(request_id, served, weight, resumed=False)
    queue.push(queued)
    for _ in range(served.refusals):
        queue.take(queued)
        queue.refund(queued)
        queue.push(queued)
    queue.take(queued)
    for tokens in served.pieces:
        queue.charge_output(request_id, "a", tokens, weight)
        if served.moved:
            resumed = _queued(request_id, served, weight, resumed=True)
            queue.push(resumed)
            queue.take(resumed)
    queue.settle(request_id)


def _queued(request_id: str, served: Served, weight: int, *, resumed: bool) -> QueuedRequest:
    return QueuedRequest(
        request_id=request_id,
        tenant="a",
        tier="t",
        priority=1,
        context_tokens=served.prompt_tokens,
        total_tokens=served.prompt_tokens + 5000,
        arrival_ms=0.0,
        deadline_ms=1.0,
        expires_ms=2.0,
        expected_output_tokens=served.expected_tokens,
        weight=weight,
        resumed=resumed,
    )


@given(
    st.lists(st.integers(1, 20_000), max_size=60),
    st.integers(1, 8192),
    st.integers(0, 8192),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_predictions_stay_between_what_is_there_and_the_limit(
    lengths: list[int], most: int, generated: int, low: float, high: float
) -> None:
    predictor = OutputLengthPredictor()
    for length in lengths:
        predictor.learn("a", "t", length)
    least = min(generated, most)
    assert least <= predictor.expected("a", "t", most, generated) <= most
    quantiles = [predictor.quantile("a", "t", share, most, generated) for share in sorted((low, high))]
    assert least <= quantiles[0] <= quantiles[1] + 1e-6 <= most + 1e-6
