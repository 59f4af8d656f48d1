"""Sampling: keyed randomness, the right distribution, the limits."""

import numpy as np
import torch

from tierline_worker.sampling import SamplingRows, choose_tokens, keyed_uniform

DRAWS = 20_000


def _rows(count: int, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, seed: int = 5) -> SamplingRows:
    return SamplingRows(
        temperature=np.full(count, temperature, dtype=np.float32),
        top_p=np.full(count, top_p, dtype=np.float32),
        top_k=np.full(count, top_k),
        seed=np.full(count, seed, dtype=np.uint64),
        position=np.arange(count),
    )


def _frequencies(logits: torch.Tensor, rows: SamplingRows) -> np.ndarray:
    chosen = choose_tokens(logits.expand(len(rows.seed), -1), rows)
    return np.bincount(chosen, minlength=logits.shape[-1]) / len(chosen)


LOGITS = torch.log(torch.tensor([0.05, 0.4, 0.15, 0.25, 0.1, 0.05]))


def test_uniforms_are_uniform_and_keyed():
    seeds, positions = np.full(DRAWS, 3, dtype=np.uint64), np.arange(DRAWS)
    values = keyed_uniform(seeds, positions)
    assert ((values >= 0) & (values < 1)).all()
    assert np.abs(np.histogram(values, 20, (0, 1))[0] / DRAWS - 0.05).max() < 0.008
    assert (keyed_uniform(seeds[:9], positions[5:14]) == values[5:14]).all()
    assert not (keyed_uniform(seeds + np.uint64(1), positions) == values).any()


def test_temperature_zero_is_greedy_whatever_the_limits():
    assert (choose_tokens(LOGITS.expand(8, -1), _rows(8, temperature=0.0, top_p=0.1, top_k=2)) == 1).all()


def test_free_draws_follow_the_distribution():
    expected = torch.softmax(LOGITS, -1).numpy()
    assert np.abs(_frequencies(LOGITS, _rows(DRAWS)) - expected).max() < 0.015


def test_temperature_sharpens():
    expected = torch.softmax(LOGITS / 0.5, -1).numpy()
    assert np.abs(_frequencies(LOGITS, _rows(DRAWS, temperature=0.5)) - expected).max() < 0.015


def test_top_k_keeps_the_k_most_probable():
    expected = np.array([0, 0.5, 0.1875, 0.3125, 0, 0])
    assert np.abs(_frequencies(LOGITS, _rows(DRAWS, top_k=3)) - expected).max() < 0.015


def test_top_p_keeps_the_smallest_set_that_reaches_p():
    expected = np.array([0, 0.4, 0, 0.25, 0, 0]) / 0.65
    assert np.abs(_frequencies(LOGITS, _rows(DRAWS, top_p=0.6)) - expected).max() < 0.015


def test_top_p_counts_within_what_top_k_left():
    expected = np.array([0, 0.4, 0, 0.25, 0, 0]) / 0.65
    assert np.abs(_frequencies(LOGITS, _rows(DRAWS, top_p=0.8, top_k=3)) - expected).max() < 0.015


def test_a_flat_distribution_wider_than_the_usual_candidates_is_drawn_in_full():
    frequencies = _frequencies(torch.zeros(3000), _rows(2000, top_p=0.9))
    assert np.count_nonzero(frequencies[1024:]) > 500


def test_a_row_draws_the_same_alone_and_in_a_batch():
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
    rows = SamplingRows(
        temperature=np.array([0, 1, 0.7, 1.3, 1, 0.5], dtype=np.float32),
        top_p=np.array([1, 1, 0.9, 1, 0.5, 1], dtype=np.float32),
        top_k=np.array([0, 0, 0, 5, 3, 0]),
        seed=np.arange(6, dtype=np.uint64),
        position=np.arange(6) * 7,
    )
    together = choose_tokens(logits, rows)
    for index in range(6):
        parts = (rows.temperature, rows.top_p, rows.top_k, rows.seed, rows.position)
        alone = SamplingRows(*(part[index : index + 1] for part in parts))
        assert choose_tokens(logits[index : index + 1], alone) == together[index]
