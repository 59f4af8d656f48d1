"""Drawing: keyed randomness, the right distribution under each limit, the same alone as in company."""

import numpy as np
import pytest
import torch
from sampling_testing import chi_square_p, probabilities

from tierline.wire.frames import Sampling
from tierline_worker.sampling.draw import DrawRows, draw_tokens
from tierline_worker.sampling.uniform import keyed_uniform

DRAWS = 20_000
LOGITS = torch.log(torch.tensor([0.05, 0.4, 0.15, 0.25, 0.1, 0.05]))


def _rows(count: int, sampling: Sampling, seed: int = 5) -> DrawRows:
    return DrawRows(
        temperature=np.full(count, sampling.temperature, dtype=np.float32),
        top_p=np.full(count, sampling.top_p, dtype=np.float32),
        top_k=np.full(count, sampling.top_k),
        min_p=np.full(count, sampling.min_p, dtype=np.float32),
        seed=np.full(count, seed, dtype=np.uint64),
        position=np.arange(count),
    )


def _drawn(logits: torch.Tensor, sampling: Sampling, count: int = DRAWS) -> np.ndarray:
    return draw_tokens(logits.expand(count, -1).contiguous(), _rows(count, sampling))


def test_uniforms_are_uniform_and_keyed():
    seeds, positions = np.full(DRAWS, 3, dtype=np.uint64), np.arange(DRAWS)
    values = keyed_uniform(seeds, positions)
    assert ((values >= 0) & (values < 1)).all()
    assert np.abs(np.histogram(values, 20, (0, 1))[0] / DRAWS - 0.05).max() < 0.008
    assert (keyed_uniform(seeds[:9], positions[5:14]) == values[5:14]).all()
    assert not (keyed_uniform(seeds + np.uint64(1), positions) == values).any()


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 9e-6])
def test_no_temperature_is_greedy_whatever_the_limits(temperature):
    assert (_drawn(LOGITS, Sampling(1, temperature=temperature, top_p=0.1, top_k=2), 8) == 1).all()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, temperature=1.0),
        Sampling(1, temperature=0.5),
        Sampling(1, temperature=2.0),
        Sampling(1, temperature=1.0, top_k=3),
        Sampling(1, temperature=1.0, top_p=0.6),
        Sampling(1, temperature=1.0, top_p=0.8, top_k=3),
        Sampling(1, temperature=1.0, min_p=0.3),
        Sampling(1, temperature=1.0, min_p=0.2, top_p=0.9, top_k=4),
        Sampling(1, temperature=0.7, min_p=1.0),
    ],
    ids=repr,
)
def test_draws_follow_the_distribution(sampling):
    expected = probabilities(LOGITS.numpy(), sampling)
    seen = np.bincount(_drawn(LOGITS, sampling), minlength=len(expected))
    kept = expected > 0
    assert not seen[~kept].any()
    if kept.sum() > 1:
        # Keyed draws are fixed, so this is one number that lies well inside, not luck.
        assert chi_square_p(seen[kept], DRAWS * expected[kept]) > 0.01


def test_a_large_vocabulary_is_drawn_from_in_proportion():
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(3)) * 2
    expected = probabilities(logits.numpy(), Sampling(1, temperature=1.0))
    seen = np.bincount(_drawn(logits, Sampling(1, temperature=1.0), 4000), minlength=5000)
    often = expected * 4000 >= 5
    groups = np.append(seen[often], seen[~often].sum()), 4000 * np.append(expected[often], expected[~often].sum())
    assert chi_square_p(*groups) > 0.01


@pytest.mark.parametrize(
    "sampling", [Sampling(1, temperature=9.0, top_p=0.97), Sampling(1, temperature=9.0, min_p=0.3)]
)
def test_a_limit_beyond_the_usual_candidates_is_found(sampling):
    logits = torch.randn(4000, generator=torch.Generator().manual_seed(2))
    allowed = probabilities(logits.numpy(), sampling) > 0
    drawn = _drawn(logits, sampling, 2000)
    assert allowed.sum() > 2000
    assert allowed[drawn].all()
    assert len(np.unique(drawn)) > 1024


def test_what_is_excluded_is_never_drawn_not_even_by_the_last_number_below_one():
    logits = torch.full((4, 300), -torch.inf)
    logits[:, 17] = logits[:, 290] = 0.0
    drawn = draw_tokens(logits, _rows(4, Sampling(1, temperature=1.0)))
    assert set(drawn.tolist()) <= {17, 290}


@pytest.mark.parametrize("vocabulary", [50, 320, 5003])
def test_a_row_draws_the_same_alone_and_in_a_batch(vocabulary):
    random = np.random.default_rng(4)
    logits = torch.randn(12, vocabulary, generator=torch.Generator().manual_seed(1))
    # Ties are where an order of company would show.
    logits = (logits * 4).round() / 4
    rows = DrawRows(
        temperature=random.choice([0.0, 0.5, 1.0, 3.0], 12).astype(np.float32),
        top_p=random.choice([1.0, 0.9, 0.99], 12).astype(np.float32),
        top_k=random.choice([0, 5, 1500], 12),
        min_p=random.choice([0.0, 0.05], 12).astype(np.float32),
        seed=np.arange(12, dtype=np.uint64),
        position=np.arange(12) * 7,
    )
    together = draw_tokens(logits, rows)
    for index in range(12):
        one = np.array([index])
        assert draw_tokens(logits[index : index + 1], rows.at(one)) == together[index]
