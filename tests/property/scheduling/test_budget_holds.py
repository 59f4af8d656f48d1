"""Whatever comes and ends when, what was delivered in any 24 hours costs at most the budget."""

from hypothesis import given
from hypothesis import strategies as st

from tierline.api.token_prices import TokenPrice
from tierline.scheduling.admission.quota import Ask, QuotaLimits, TenantUsage
from tierline.scheduling.admission.spending import HOUR_MS, HOURS, MICROCENTS

PRICE = TokenPrice(prompt_cents=70, output_cents=900)
CENTS = 3

steps = st.tuples(
    st.floats(0, 6 * HOUR_MS),  # time since the step before
    st.integers(1, 20_000),  # prompt
    st.integers(1, 2_000),  # longest answer
    st.floats(0, 1),  # how much of it was delivered
    st.booleans(),  # whether the oldest running request ends now
)


@given(st.lists(steps, max_size=40))
def test_a_day_costs_at_most_the_budget(taken: list[tuple[float, int, int, float, bool]]) -> None:
    tenant = TenantUsage(QuotaLimits(cents_per_day=CENTS))
    running: list[tuple[Ask, int]] = []
    booked: list[tuple[float, int]] = []
    now_ms = 0.0
    for passed_ms, prompt, longest, share, ends in taken:
        now_ms += passed_ms
        ask = Ask(prompt, longest, PRICE)
        if tenant.breach(ask, now_ms) is None:
            tenant.begin(ask, now_ms)
            running.append((ask, int(longest * share)))
        if ends and running:
            ended, tokens = running.pop(0)
            tenant.billed(PRICE.microcents(ended.prompt_tokens, tokens), now_ms)
            tenant.end(ended, now_ms)
            booked.append((now_ms, PRICE.microcents(ended.prompt_tokens, tokens)))
    for at_ms, _ in booked:
        day = sum(cost for when_ms, cost in booked if at_ms - HOURS * HOUR_MS < when_ms <= at_ms)
        assert day <= CENTS * MICROCENTS
    assert len(running) == tenant.concurrent
