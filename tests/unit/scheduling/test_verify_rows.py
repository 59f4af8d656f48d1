"""Rows that verify drafts: what they reserve, how far a request advances, what is given back."""

import numpy as np
import pytest
from core_steps import commit, core_of, phase, planned, request, step

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.plans import BatchPlan, Committed, IterationResult
from tierline.scheduling.slots import Phase
from tierline.scheduling.speculation.acceptance import AcceptanceSnapshot

SLOTS = 4


def drafting_core(**limits: int) -> CheckedSchedulerCore:
    """A core that takes every draft for accepted, so it drafts all it may."""
    core = core_of(max_draft_tokens=4, **limits)
    assert core.drafting is not None
    core.drafting.acceptance.restore(AcceptanceSnapshot(((0.0, 0.0, 0.0),) * SLOTS, (0.95, 100.0)))
    return core


def speculating(name: str, prompt: int, output: int, **kwargs: object):
    return request(name, prompt, output, speculate=True, **kwargs)


def verified(
    core: CheckedSchedulerCore, plan: BatchPlan, accepted: int, proposed: int = 4, stopped: bool = False
) -> Committed:
    drafted = np.minimum(plan.drafts, proposed) if len(plan.drafts) else np.zeros(len(plan.slots), np.int32)
    sampled = np.where(plan.samples, 1 + np.minimum(drafted, accepted), 0)
    ends = np.full(len(plan.slots), stopped)
    return core.commit(IterationResult(plan.iteration, ends, 5.0, sampled, drafted))


def test_a_row_computes_its_last_token_and_the_drafts_after_it() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    plan = planned(core)
    assert (plan.decodes, plan.starts.tolist(), plan.counts.tolist(), plan.drafts.tolist()) == (0, [3], [5], [4])
    assert core.memory.owned[0] == 2


@pytest.mark.parametrize("accepted", [0, 1, 4])
def test_a_request_advances_by_what_was_accepted(accepted: int) -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    assert verified(core, planned(core), accepted).delivered == (0,)
    slots = core.slots
    assert (slots.known[0], slots.confirmed[0], slots.computed[0]) == (5 + accepted, 5 + accepted, 4 + accepted)
    assert planned(core).starts.tolist() == [4 + accepted]
    counters = core.counters
    assert (counters.drafted_tokens, counters.accepted_tokens, counters.verified_rows) == (4, accepted, 1)


def test_blocks_that_only_rejected_drafts_reached_into_are_free_again() -> None:
    core = drafting_core(block_tokens=1)
    core.submit(speculating("a", 3, 12))
    step(core)
    plan = planned(core)
    assert core.memory.owned[0] == 8
    verified(core, plan, accepted=1)
    assert core.memory.owned[0] == 6


def test_the_last_draft_lies_before_the_last_token_that_was_asked_for() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 4))
    step(core)
    plan = planned(core)
    assert plan.drafts.tolist() == [2]
    assert verified(core, plan, accepted=2).finished[0].reason == "length"
    assert core.empty


def test_a_stop_among_accepted_tokens_ends_the_request() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    assert verified(core, planned(core), accepted=1, stopped=True).finished[0].reason == "stop"
    assert core.memory.free == core.limits.total_blocks


def test_a_row_of_unknown_length_is_not_planned_again_before_its_result() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    core.submit(request("b", 3, 12))
    step(core)
    first = planned(core)
    assert sorted(zip(first.slots.tolist(), first.drafts.tolist(), strict=True)) == [(0, 4), (1, 0)]
    second = planned(core)
    assert second.slots.tolist() == [1]
    verified(core, first, accepted=2)
    assert sorted(planned(core).slots.tolist()) == [0, 1]


def test_a_request_parked_while_it_drafts_keeps_what_was_accepted() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    plan = planned(core)
    core.preemptor.park(0)
    verified(core, plan, accepted=3)
    assert (core.slots.known[0], core.slots.computed[0]) == (8, 0)
    again = planned(core)
    assert (again.starts.tolist(), again.counts.tolist()) == ([0], [8])
    assert phase(core, "a") == Phase.RUNNING


def test_a_request_cancelled_while_it_drafts_gives_nothing() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    plan = planned(core)
    core.cancel("a")
    assert verified(core, plan, accepted=3).delivered == ()
    assert core.empty
    assert core.memory.free == core.limits.total_blocks


def test_drafts_leave_half_of_the_token_budget_to_prompts() -> None:
    core = drafting_core(max_batched_tokens=8)
    core.submit(speculating("a", 3, 30))
    step(core)
    core.submit(request("b", 20, 5))
    plan = planned(core)
    assert plan.drafts.tolist()[0] == 3
    assert plan.tokens == 8


def test_drafts_take_no_block_that_a_waiting_request_needs() -> None:
    core = drafting_core(total_blocks=4)
    core.submit(speculating("a", 3, 12))
    step(core)
    core.submit(request("b", 12, 2))
    plan = planned(core)
    assert plan.slots.tolist() == [0, 1]
    assert not plan.drafts.any()


def test_what_the_drafter_did_not_propose_is_not_judged() -> None:
    core = drafting_core()
    core.submit(speculating("a", 3, 12))
    step(core)
    verified(core, planned(core), accepted=0, proposed=0)
    assert core.drafting is not None
    assert core.drafting.acceptance.rates(np.array([0]))[0] == 0.95
    assert core.counters.verified_rows == 0


def test_requests_that_may_not_speculate_never_draft() -> None:
    core = drafting_core()
    core.submit(request("a", 3, 12))
    step(core)
    while not core.empty:
        plan = planned(core)
        assert not len(plan.drafts)
        commit(core, plan)


def test_a_text_that_becomes_predictable_is_noticed() -> None:
    core = core_of(max_draft_tokens=4, max_model_tokens=400, total_blocks=200)
    core.submit(speculating("a", 3, 350))
    step(core)
    lengths = []
    while not core.empty:
        plan = planned(core)
        lengths.append(int(plan.drafts.sum()))
        verified(core, plan, accepted=0 if core.slots.known[0] < 150 else 4)
    assert sum(lengths[10:100]) <= 10
    assert lengths[-2] == 4
