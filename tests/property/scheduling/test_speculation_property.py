"""Draft lengths against every other choice, and what drafting may never do."""

import itertools
from dataclasses import replace

import numpy as np
from core_steps import DEFAULTS
from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.plans import EngineRequest
from tierline.scheduling.slots import Phase, SlotTable
from tierline.scheduling.speculation.acceptance import AcceptanceSnapshot
from tierline.scheduling.speculation.draft_length import draft_lengths, expected_tokens, within
from tierline.scheduling.speculation.drafting import EXPLORED_SHARE, SAVED_ITERATIONS, Drafting

RATES = st.floats(0.0, 0.98)
LONGEST = st.integers(0, 4)
ROWS = st.lists(st.tuples(RATES, LONGEST), min_size=1, max_size=4)


def goodput(rates: np.ndarray, lengths: np.ndarray, base_ms: float, token_ms: float, turns: int) -> float:
    values = expected_tokens(rates, 4)
    values[:, 1:] /= turns
    return float(values[np.arange(len(rates)), lengths].sum() / (base_ms + token_ms * lengths.sum()))


@given(rows=ROWS, base_ms=st.floats(0.5, 100.0), token_ms=st.floats(0.001, 50.0), turns=st.integers(1, 2))
def test_no_other_lengths_have_more_goodput(rows, base_ms, token_ms, turns) -> None:
    rates, longest = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    chosen = draft_lengths(rates, longest, base_ms, token_ms, turns)
    assert (chosen <= longest).all()
    others = itertools.product(*(range(most + 1) for most in longest.tolist()))
    best = max(goodput(rates, np.array(other), base_ms, token_ms, turns) for other in others)
    assert goodput(rates, chosen, base_ms, token_ms, turns) >= best * (1 - 1e-9)


@given(rows=ROWS, most=st.integers(0, 10))
def test_what_is_cut_has_the_most_expected_tokens_of_all_that_fits(rows, most) -> None:
    rates, lengths = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    cut = within(lengths, rates, most)
    assert (cut <= lengths).all()
    assert cut.sum() == min(most, lengths.sum())
    others = itertools.product(*(range(longest + 1) for longest in lengths.tolist()))
    fitting = [np.array(other) for other in others if sum(other) <= most]
    value = expected_tokens(rates, 4)[np.arange(len(rates)), cut].sum()
    best = max(expected_tokens(rates, 4)[np.arange(len(rates)), other].sum() for other in fitting)
    assert value >= best - 1e-9


@given(
    requests=st.lists(st.tuples(st.booleans(), st.integers(1, 8), RATES, st.integers(0, 40)), min_size=1, max_size=4),
    token_ms=st.floats(0.01, 5.0),
    on=st.booleans(),
    tokens_left=st.integers(0, 20),
)
def test_nothing_unstable_or_switched_off_is_drafted_but_to_explore(requests, token_ms, on, tokens_left) -> None:
    limits = replace(DEFAULTS, max_draft_tokens=4, max_running_requests=len(requests))
    slots, memory = SlotTable(limits), MemoryManager(limits, EngineCounters())
    latency = LatencyModel(Coefficients(5.0, 0.1, 0.0, 0.0, 0.0, token_ms))
    drafting = Drafting(limits, slots, memory, latency)
    for number, (speculate, output, _, _) in enumerate(requests):
        slot = slots.add(EngineRequest(f"r{number}", 3, output, speculate=speculate))
        memory.append(slot, 1)
        slots.phase[slot] = Phase.RUNNING
        slots.computed[slot] = 2
    estimates = tuple((rate, rate, float(trials)) for _, _, rate, trials in requests)
    drafting.acceptance.restore(AcceptanceSnapshot(estimates, (0.0, 0.0)))
    drafting.switch.state = replace(drafting.switch.state, on=on)
    decodes = np.arange(len(requests))
    lengths, _ = drafting.choose(decodes, tokens_left, turns=1)
    sure = drafting.acceptance.stable(decodes) & on
    assert (lengths[~sure] <= 1).all()
    assert lengths[~sure].sum() * token_ms <= EXPLORED_SHARE * SAVED_ITERATIONS * 5.0 + 1e-9
    assert not lengths[~slots.speculate[decodes]].any()
    assert lengths.sum() <= tokens_left
    assert (slots.known[decodes] + 1 + lengths <= slots.max_total[decodes]).all()
