"""Prompt lookup: what followed the last time."""

import numpy as np

from tierline_worker.speculation.drafter import DraftRows
from tierline_worker.speculation.ngram import NGramDrafter


def rows_of(*texts: list[int], wanted: int = 3) -> DraftRows:
    tokens = np.zeros((len(texts), 64), np.int64)
    for slot, text in enumerate(texts):
        tokens[slot, : len(text)] = text
    lengths = np.array([len(text) for text in texts])
    return DraftRows(tokens, np.arange(len(texts)), lengths, np.full(len(texts), wanted))


def proposed(drafter: NGramDrafter, text: list[int], wanted: int = 3) -> list[list[int]]:
    return [list(chain) for chain in drafter.propose(rows_of(text, wanted=wanted))[0]]


def test_it_copies_what_followed_the_same_words() -> None:
    assert proposed(NGramDrafter(), [1, 2, 3, 4, 5, 9, 1, 2]) == [[3, 4, 5]]


def test_nothing_is_proposed_for_what_never_was_there() -> None:
    assert proposed(NGramDrafter(), [1, 2, 3, 4, 5]) == []
    assert proposed(NGramDrafter(), [1]) == []


def test_the_longest_match_counts() -> None:
    text = [7, 8, 1, 2, 3, 50, 4, 8, 1, 2, 3, 60, 7, 8, 1, 2, 3]
    assert proposed(NGramDrafter(), [*text], wanted=1) == [[60], [50]]
    text = [9, 1, 2, 3, 50, 4, 7, 6, 2, 3, 60, 9, 1, 2, 3]
    assert proposed(NGramDrafter(), text, wanted=1) == [[50], [60]]


def test_of_several_the_latest_comes_first_and_another_continuation_second() -> None:
    assert proposed(NGramDrafter(), [1, 2, 3, 1, 2, 4, 1, 2, 4, 1, 2], wanted=1) == [[4], [3]]


def test_a_period_is_continued_past_the_end_of_the_text() -> None:
    assert proposed(NGramDrafter(), [5, 6, 5, 6, 5, 6], wanted=5)[0] == [5, 6, 5, 6, 5]


def test_the_index_grows_with_the_text_as_if_made_anew() -> None:
    text = np.random.default_rng(3).integers(0, 4, 60).tolist()
    grown = NGramDrafter()
    for length in range(1, len(text)):
        assert proposed(grown, text[:length]) == proposed(NGramDrafter(), text[:length])


def test_slots_do_not_see_each_other_nor_who_was_there_before() -> None:
    drafter = NGramDrafter()
    assert drafter.propose(rows_of([1, 2, 3, 1, 2], [4, 5, 1, 2])) == [[[3, 1, 2]], []]
    drafter.forget(0)
    assert drafter.propose(rows_of([4, 4, 1, 2])) == [[]]
