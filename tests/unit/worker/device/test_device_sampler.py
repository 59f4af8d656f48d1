"""The sampler of the device against the one of the host: the same randomness, the same tokens."""

import numpy as np
import pytest
import torch

from tierline_worker.device import sampler
from tierline_worker.device.sampler import Draw, DrawParameters
from tierline_worker.sampling.draw import DrawRows, draw_tokens
from tierline_worker.sampling.uniform import keyed_uniform

ROWS, VOCABULARY = 64, 500


def test_the_device_draws_the_numbers_of_the_host() -> None:
    random = np.random.default_rng(0)
    seeds = random.integers(0, 2**64, 1000, dtype=np.uint64)
    positions = random.integers(0, 2**31, 1000)
    drawn = sampler.keyed_uniform(torch.from_numpy(seeds.view(np.int64)), torch.from_numpy(positions))
    np.testing.assert_array_equal(drawn.numpy(), keyed_uniform(seeds, positions))


@pytest.mark.parametrize("draw", list(Draw))
def test_the_device_chooses_the_tokens_of_the_host(draw) -> None:
    random = np.random.default_rng(int(draw))
    limited = draw is Draw.LIMITED
    rows = DrawRows(
        temperature=(random.choice([0.0, 0.5, 1.0, 2.0], ROWS) * (draw is not Draw.GREEDY)).astype(np.float32),
        top_p=random.choice([0.1, 0.7, 1.0], ROWS).astype(np.float32) if limited else np.ones(ROWS, np.float32),
        top_k=random.choice([0, 1, 5, 400], ROWS) if limited else np.zeros(ROWS, np.int64),
        min_p=random.choice([0.0, 0.05], ROWS).astype(np.float32) * limited,
        seed=random.integers(0, 2**64, ROWS, dtype=np.uint64),
        position=random.integers(0, 10_000, ROWS),
    )
    logits = torch.from_numpy(random.standard_normal((ROWS, VOCABULARY)).astype(np.float32) * 3)
    parameters = DrawParameters(
        torch.from_numpy(rows.temperature),
        torch.from_numpy(rows.top_p),
        torch.from_numpy(rows.min_p),
        torch.from_numpy(rows.top_k),
        torch.from_numpy(rows.seed.view(np.int64)),
    )
    chosen = sampler.choose(logits, parameters, torch.from_numpy(rows.position), draw)
    np.testing.assert_array_equal(chosen.numpy(), draw_tokens(logits, rows))
