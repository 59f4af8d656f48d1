"""Whatever fits and whatever does not: the limit keeps its bounds, and an engine that calms down gets it all back."""

from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.batching.shedding import CALM_ITERATIONS, TokenLimit
from tierline.scheduling.plans import EngineLimits


@st.composite
def limits(draw: st.DrawFn) -> EngineLimits:
    running = draw(st.integers(1, 64))
    return EngineLimits(running, draw(st.integers(running, 4096)), 4096, 16, 512)


@given(limits(), st.lists(st.tuples(st.integers(1, 4096), st.booleans()), max_size=300))
def test_the_limit_stays_between_its_bounds_and_returns(limits: EngineLimits, history: list[tuple[int, bool]]):
    limit = TokenLimit(limits)
    for tokens, out_of_memory in history:
        before = limit.tokens
        limit.committed(tokens, out_of_memory)
        assert limits.max_running_requests <= limit.tokens <= limits.max_batched_tokens
        assert limit.tokens <= before if out_of_memory else limit.tokens >= before
    while limit.tokens < limits.max_batched_tokens:
        before = limit.tokens
        for _ in range(CALM_ITERATIONS):
            limit.committed(1, out_of_memory=False)
        assert limit.tokens > before
