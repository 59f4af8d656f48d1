"""The draft lengths of SmartSpec's goodput, and the rates that they are chosen from."""

import numpy as np
import pytest

from tierline.scheduling.speculation.acceptance import LONG_WINDOW, MAX_RATE, MIN_TRIALS, Acceptance
from tierline.scheduling.speculation.draft_length import draft_lengths, expected_tokens, within, within_budgets

DECODE_MS, TOKEN_MS = 20.0, 2.0


def lengths(*rates: float, base_ms: float = DECODE_MS, token_ms: float = TOKEN_MS, turns: int = 1) -> list[int]:
    return draft_lengths(np.array(rates), np.full(len(rates), 5), base_ms, token_ms, turns).tolist()


def test_a_row_gives_its_accepted_drafts_and_one_token_more() -> None:
    """SmartSpec's example: at 0.7, three drafts give 1 + 0.7 + 0.49 + 0.343 tokens."""
    assert expected_tokens(np.array([0.7]), 3)[0].tolist() == pytest.approx([1.0, 1.7, 2.19, 2.533])
    assert expected_tokens(np.array([0.7]), 3)[0, 3] == pytest.approx((1 - 0.7**4) / (1 - 0.7))


def test_likely_drafts_are_long_and_unlikely_ones_are_not_made() -> None:
    assert lengths(0.95) == [5]
    assert lengths(0.6) == [3]
    assert lengths(0.3) == [1]
    assert lengths(0.05) == [0]


def test_each_row_has_its_own_length() -> None:
    assert lengths(0.95, 0.6, 0.05) == [5, 1, 0]


def test_where_a_token_more_costs_a_decode_nobody_drafts() -> None:
    """A large batch is bound by arithmetic: its time is that of its tokens."""
    assert lengths(*[0.8] * 64, base_ms=64 * 2.0, token_ms=2.0) == [0] * 64
    assert lengths(*[0.8] * 64, base_ms=64 * 20.0, token_ms=2.0) == [5] * 64


def test_a_row_that_sits_out_every_second_plan_must_make_up_for_it() -> None:
    assert lengths(0.6, turns=2) == [0]
    assert lengths(0.95, turns=2) == [5]


def test_the_least_likely_drafts_are_cut_first() -> None:
    kept = within(np.array([3, 3]), np.array([0.9, 0.5]), 4)
    assert kept.tolist() == [3, 1]
    assert within(np.array([3, 3]), np.array([0.9, 0.5]), 0).tolist() == [0, 0]


def test_drafts_of_some_do_not_break_the_budget_of_others() -> None:
    rates, some = np.array([0.9, 0.0]), np.array([5, 0])
    free = np.array([np.inf, np.inf])
    assert within_budgets(some, rates, free, DECODE_MS, TOKEN_MS).tolist() == [5, 0]
    assert within_budgets(some, rates, np.array([np.inf, 25.0]), DECODE_MS, TOKEN_MS).tolist() == [2, 0]
    assert within_budgets(some, rates, np.array([np.inf, 10.0]), DECODE_MS, TOKEN_MS).tolist() == [0, 0]
    # Its own drafts shorten a row's time per token.
    assert within_budgets(some[:1], rates[:1], np.array([10.0]), DECODE_MS, TOKEN_MS).tolist() == [5]


def one_slot() -> tuple[Acceptance, np.ndarray]:
    acceptance = Acceptance(1)
    acceptance.start(0)
    return acceptance, np.array([0])


def observe(acceptance: Acceptance, drafted: int, accepted: int, times: int = 1) -> None:
    for _ in range(times):
        acceptance.observe(np.array([0]), np.array([drafted]), np.array([accepted]))


def test_drafts_behind_the_first_rejected_one_are_not_judged() -> None:
    acceptance, slot = one_slot()
    observe(acceptance, drafted=4, accepted=1)
    assert acceptance.rates(slot)[0] == 0.5
    observe(acceptance, drafted=2, accepted=2)
    assert acceptance.rates(slot)[0] == 0.75


def test_a_rate_counts_when_it_rests_on_enough_trials() -> None:
    acceptance, slot = one_slot()
    for _ in range(MIN_TRIALS):
        assert not acceptance.stable(slot)[0]
        observe(acceptance, drafted=1, accepted=1)
    assert acceptance.stable(slot)[0]
    assert acceptance.rates(slot)[0] == MAX_RATE


def test_a_text_that_changes_its_kind_is_unstable_until_seen_anew() -> None:
    acceptance, slot = one_slot()
    observe(acceptance, drafted=4, accepted=4, times=LONG_WINDOW)
    rejected = 0
    while acceptance.stable(slot)[0]:
        observe(acceptance, drafted=4, accepted=0)
        rejected += 1
        assert rejected <= 6
    observe(acceptance, drafted=1, accepted=0, times=MIN_TRIALS)
    assert acceptance.stable(slot)[0]
    assert acceptance.rates(slot)[0] < 0.6


def test_chance_does_not_make_a_constant_rate_unstable() -> None:
    acceptance, slot = one_slot()
    random = np.random.default_rng(4)
    unstable = 0
    for _ in range(2000):
        run = int(np.argmin(random.random(4) < 0.7)) if (random.random(4) < 0.7).any() else 0
        observe(acceptance, drafted=4, accepted=run)
        unstable += not acceptance.stable(slot)[0]
    assert unstable < 0.02 * 2000


def test_a_new_request_starts_from_what_others_had() -> None:
    acceptance, slot = one_slot()
    observe(acceptance, drafted=2, accepted=2, times=20)
    acceptance.start(0)
    assert acceptance.stable(slot)[0]
    assert acceptance.rates(slot)[0] > 0.9
    observe(acceptance, drafted=2, accepted=0, times=6)
    assert acceptance.rates(slot)[0] < 0.6
