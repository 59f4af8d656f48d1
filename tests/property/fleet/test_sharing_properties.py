from claim_strategies import claims
from hypothesis import example, given
from hypothesis import strategies as st

from tierline.fleet.scaling.claims import Claim
from tierline.fleet.scaling.sharing import CALM_MS, SHORTAGE_MS, SharingMemory, allocate, plan_sharing

CLAIMS = claims(units=st.integers(1, 4))


@given(CLAIMS, st.integers(0, 40))
def test_no_more_is_given_than_there_is_and_nobody_gets_more_than_it_wants(asked, capacity):
    given_out = allocate(asked, capacity, {"a": 2, "b": 1})
    assert sum(given_out[it.key] * it.units for it in asked) <= capacity
    assert all(0 <= given_out[it.key] <= it.wanted for it in asked)


@given(CLAIMS, st.integers(0, 40))
def test_a_lower_tier_gets_something_beyond_its_floor_only_when_no_higher_one_could_use_it(asked, capacity):
    given_out = allocate(asked, capacity, {"a": 2, "b": 1})
    left = capacity - sum(given_out[it.key] * it.units for it in asked)
    for lower in asked:
        floor = max(min(lower.low, lower.wanted), 0 if lower.may_give else lower.held)
        for higher in asked:
            if higher.priority > lower.priority and given_out[lower.key] > floor and higher.units <= lower.units:
                assert given_out[higher.key] == higher.wanted or higher.units > lower.units + left


@given(st.lists(CLAIMS, min_size=2, max_size=12), st.integers(1, 30), st.integers(1_000, 90_000))
def test_caps_never_sink_below_minimums_and_never_rise_within_a_shortage(history, capacity, step_ms):
    memory = SharingMemory()
    now_ms = 0
    for asked in history:
        now_ms += step_ms
        before = memory
        memory = plan_sharing(before, asked, {"h100": capacity}, {}, now_ms=now_ms)
        for it in asked:
            if it.key in memory.caps and it.key in before.caps:
                assert memory.caps[it.key] <= max(before.caps[it.key], it.low)
            assert memory.caps.get(it.key, it.low) >= it.low or it.key not in memory.caps
        if before.caps and not memory.caps:
            gone = {it.key for it in asked if it.may_give}.isdisjoint(before.caps)
            assert gone or now_ms - memory.calm_since_ms.get("h100", now_ms) >= CALM_MS


IN_TURNS = [
    Claim(("a", "p0"), "h100", 4, 10, True, 0, wanted=5, held=4),
    Claim(("a", "p2"), "h100", 1, 10, False, 0, wanted=2, held=1),
    Claim(("a", "p3"), "h100", 4, 50, False, 0, wanted=2, held=0),
]
"""Two of one tier want the last accelerators in turn: whose turn it is not is capped at what it holds."""


@given(CLAIMS, st.integers(0, 40))
@example(IN_TURNS, 29)
def test_a_shortage_that_lasts_takes_no_more_than_at_its_beginning(asked, capacity):
    memory = plan_sharing(SharingMemory(), asked, {"h100": capacity}, {}, now_ms=0)
    once = plan_sharing(memory, asked, {"h100": capacity}, {}, now_ms=SHORTAGE_MS)
    again = plan_sharing(once, asked, {"h100": capacity}, {}, now_ms=10 * SHORTAGE_MS)
    for it in asked:
        assert min(again.caps.get(it.key, it.held), it.held) == min(once.caps.get(it.key, it.held), it.held)
        assert again.caps.get(it.key, it.wanted) <= once.caps.get(it.key, it.wanted)
