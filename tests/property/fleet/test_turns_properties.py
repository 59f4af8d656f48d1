"""Turns decide who is next, never how little or how much anybody may have."""

from claim_strategies import claims
from hypothesis import given, settings
from hypothesis import strategies as st

from tierline.fleet.scaling.claims import Waiting
from tierline.fleet.scaling.sharing import SharingMemory, allocate, plan_sharing
from tierline.fleet.scaling.turns import OFFER_MS, Turns, in_turn

ROOM = st.integers(0, 30)
QUEUES = st.lists(
    st.builds(
        Waiting,
        st.sampled_from([10, 50]),
        st.one_of(st.just(float("inf")), st.integers(-60_000, 600_000)),
    ),
    max_size=2,
).map(tuple)
CLAIMS = claims(queue=QUEUES, start_ms=st.integers(0, 90_000).map(float))


def orders(asked):
    rows = {it.row: [other for other in asked if other.row == it.row] for it in asked}
    return [in_turn(row, Turns(), 0) for row in rows.values()]


@settings(max_examples=40)
@given(CLAIMS, ROOM)
def test_turns_change_neither_floors_nor_what_a_row_gets_together(asked, room):
    by_name, by_turn = allocate(asked, room, {}), allocate(asked, room, {}, orders(asked))
    for row in {it.row for it in asked}:
        keys = [it.key for it in asked if it.row == row]
        assert sum(by_name[key] for key in keys) == sum(by_turn[key] for key in keys)
    for it in asked:
        kept = min(it.wanted, it.held, by_name[it.key])
        assert kept <= by_turn[it.key] <= it.wanted


@settings(max_examples=40)
@given(st.lists(CLAIMS, min_size=1, max_size=6), ROOM, st.integers(1_000, OFFER_MS))
def test_nobody_waits_below_what_it_holds_or_its_minimum_and_somebody_in_each_row_may_ask(history, room, step_ms):
    memory = SharingMemory()
    for look, asked in enumerate(history):
        memory = plan_sharing(memory, asked, {"h100": room}, {}, now_ms=look * step_ms)
        for it in asked:
            if it.key in memory.turns.waiting:
                assert max(it.held, it.low) <= memory.turns.waiting[it.key].most < it.wanted
        for row in {it.row for it in asked}:
            hungry = [it for it in asked if it.row == row and it.held < memory.caps.get(it.key, it.wanted)]
            asks = [it for it in hungry if memory.most(it.key, it.wanted) > it.held]
            assert asks or not [it for it in hungry if it.is_hungry]


@settings(max_examples=40)
@given(CLAIMS, ROOM)
def test_the_same_look_twice_decides_the_same(asked, room):
    once = plan_sharing(SharingMemory(), asked, {"h100": room}, {}, now_ms=0)
    assert plan_sharing(once, list(reversed(asked)), {"h100": room}, {}, now_ms=0) == once


@settings(max_examples=40)
@given(CLAIMS, ROOM)
def test_an_accelerator_that_is_free_is_asked_for(asked, room):
    """What the others may ask for does not use up what is due to one."""
    memory = plan_sharing(SharingMemory(), asked, {"h100": room}, {}, now_ms=0)
    given_out = allocate(asked, room, {}, orders(asked))
    for it in asked:
        assert memory.most(it.key, it.wanted) >= min(given_out[it.key], it.wanted)
