"""With drafts every request gets, token for token, what it gets without: right ones, wrong ones, chains and trees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speculating import LIMITS, Adversary, MakeDrafter, Told, answers, model_drafter
from tiny_checkpoint import write_tiny_checkpoint

from tierline.wire.frames import Sampling
from tierline_worker.speculation.drafter import Drafters
from tierline_worker.speculation.ngram import NGramDrafter

NEW = 40


def prompt(length: int, seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(5, 250, length)]


REQUESTS = [
    (prompt(37, 1), Sampling(NEW, ignore_eos=True)),
    (prompt(3, 2) * 6, Sampling(NEW - 3, temperature=0.8, seed=11, ignore_eos=True)),
    (prompt(9, 3), Sampling(NEW - 7, temperature=1.3, top_p=0.9, top_k=40, seed=12, ignore_eos=True)),
    (prompt(5, 4), Sampling(1, ignore_eos=True)),
    # Two tokens in random order: an n-gram is often there, what follows it is often something else.
    (prompt(5, 5), Sampling(NEW - 9, temperature=1.0, seed=13, ignore_eos=True, logit_bias=((17, 60.0), (18, 60.0)))),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("target") / "model")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("draft") / "model", seed=9, num_hidden_layers=1)


@pytest.fixture(scope="module")
def plain(tiny: Path) -> list:
    return answers(tiny, REQUESTS).answers


def told(plain: list) -> Told:
    return Told({tuple(ids): answer for (ids, _), (answer, _) in zip(REQUESTS, plain, strict=True)})


def makers(tiny: Path, stranger: Path, plain: list) -> dict[str, MakeDrafter]:
    return {
        "ngram": lambda _slots: NGramDrafter(),
        "same model": model_drafter(tiny),
        "other model": model_drafter(stranger),
        "adversary": lambda _slots: Adversary(),
        "tree": lambda _slots: told(plain),
        "model and ngram": lambda slots: Drafters((model_drafter(stranger)(slots), NGramDrafter())),
    }


@pytest.mark.parametrize("name", ["ngram", "same model", "other model", "adversary", "tree", "model and ngram"])
def test_answers_are_the_same(tiny: Path, stranger: Path, plain: list, name: str) -> None:
    run = answers(tiny, REQUESTS, makers(tiny, stranger, plain)[name])
    counters = run.counters
    assert run.answers == plain
    assert counters.drafted_tokens > 0
    if name in {"same model", "tree"}:
        assert counters.accepted_tokens > 0.4 * counters.drafted_tokens


def test_a_draft_model_that_is_the_target_is_always_right(tiny: Path) -> None:
    """Also where tokens are sampled: both draw with the same key."""
    requests = REQUESTS[:4]
    run = answers(tiny, requests, model_drafter(tiny))
    assert run.counters.accepted_tokens == run.counters.drafted_tokens > 0
    assert [len(ids) for ids, _ in run.answers] == [NEW, NEW - 3, NEW - 7, 1]


def test_preempted_requests_lose_no_draft_and_no_token(tiny: Path, plain: list) -> None:
    tight = replace(LIMITS, total_blocks=26)
    run = answers(tiny, REQUESTS, lambda _slots: told(plain), limits=tight)
    assert run.answers == plain
    assert run.counters.accepted_tokens > 0
    assert run.preempted > 0


@pytest.mark.parametrize("place", [1, 2, 7, 8, 20])
def test_a_stop_among_accepted_tokens_is_the_last_one(tiny: Path, plain: list, place: int) -> None:
    ids = REQUESTS[0][0]
    stop = plain[0][0][place]
    stopping = [(ids, Sampling(NEW, stop_token_ids=(stop,), ignore_eos=True))]
    without = answers(tiny, stopping).answers
    assert without[0][1] == "stop"
    assert answers(tiny, stopping, lambda _slots: told(plain)).answers == without


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 6])
def test_an_answer_ends_where_it_was_asked_to(tiny: Path, plain: list, most: int) -> None:
    short = [(REQUESTS[0][0], Sampling(most, ignore_eos=True))]
    run = answers(tiny, short, lambda _slots: told(plain))
    assert run.answers == [(plain[0][0][:most], "length")]


def test_what_hangs_on_the_answer_so_far_is_not_speculated(tiny: Path) -> None:
    penalised = [(REQUESTS[1][0], Sampling(12, frequency_penalty=0.7, ignore_eos=True))]
    run = answers(tiny, penalised, lambda _slots: NGramDrafter())
    assert run.answers == answers(tiny, penalised).answers
    assert run.counters.drafted_tokens == 0


def test_edits_by_position_and_token_hold_for_drafts_too(tiny: Path, plain: list) -> None:
    ids = REQUESTS[0][0]
    edited = [(ids, Sampling(20, min_tokens=9, stop_token_ids=plain[0][0][:6], logit_bias=((17, 3.0),)))]
    without = answers(tiny, edited).answers
    drafter = Told({tuple(ids): without[0][0]})
    run = answers(tiny, edited, lambda _slots: drafter)
    assert run.answers == without
    assert run.counters.accepted_tokens > 0
