"""On a GPU: graphs, pinned copies and kernels together give the tokens of the CPU's executor."""

import numpy as np
import pytest
import torch
from device_testing import cpu_executor, slots_of
from device_testing import serve as answers

from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling
from tierline_worker.device.choice import executor_builder
from tierline_worker.device.sampler import keyed_uniform
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.load import load_model
from tierline_worker.sampling.uniform import keyed_uniform as keyed_uniform_on_host

pytestmark = pytest.mark.gpu

LIMITS = EngineLimits(5, 16, 96, 16, 40)


def gpu_executor(path, limits: EngineLimits):
    device = torch.device("cuda", 0)
    model = load_model(path, torch.float32, limits.max_model_tokens, device=device)
    arena = KVArena.allocate(model.config, limits.total_blocks + 1, limits.block_tokens, torch.float32, device)
    slots = slots_of(limits)
    return executor_builder(device)(
        model, arena, slots, lambda attention: Executor(model, attention, slots, limits.block_tokens)
    )


@pytest.mark.parametrize(
    "samplings",
    [
        [Sampling(12)] * 4,
        [Sampling(12), Sampling(14, temperature=1.0, seed=7), Sampling(9, temperature=0.8, top_p=0.9, seed=3)],
        [Sampling(12), Sampling(6, temperature=1.0, presence_penalty=0.5, seed=5)],
    ],
    ids=["greedy", "random", "with-the-host"],
)
def test_tokens_are_those_of_the_cpu(tiny_path, samplings) -> None:
    assert answers(gpu_executor(tiny_path, LIMITS), samplings, LIMITS) == answers(
        cpu_executor(tiny_path, LIMITS), samplings, LIMITS
    )


def test_the_gpu_draws_the_numbers_of_the_host() -> None:
    seeds = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    positions = np.arange(1000)
    drawn = keyed_uniform(torch.from_numpy(seeds.view(np.int64)).cuda(), torch.from_numpy(positions).cuda())
    np.testing.assert_array_equal(drawn.cpu().numpy(), keyed_uniform_on_host(seeds, positions))
