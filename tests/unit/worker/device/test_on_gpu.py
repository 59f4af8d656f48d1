"""On a GPU: graphs, pinned copies and kernels together give the tokens of the CPU's executor."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from device_testing import cpu_executor, slots_of
from device_testing import serve as answers
from engine_testing import Bench, rows_plan
from msgspec.structs import replace
from tiny_adapter import write_tiny_adapter

from tierline.scheduling.plans import AdapterLoad, EngineLimits
from tierline.wire.frames import Sampling
from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import read_peft
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.device.choice import executor_builder
from tierline_worker.device.sampler import keyed_uniform
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.load import load_model
from tierline_worker.model.number_format import NumberFormat
from tierline_worker.parallel.group import open_group
from tierline_worker.sampling.uniform import keyed_uniform as keyed_uniform_on_host
from tierline_worker.slots import SlotLoad
from tierline_worker.speculation.drafter import Drafter
from tierline_worker.speculation.ngram import NGramDrafter
from tierline_worker.speculation.speculation import Speculation

pytestmark = pytest.mark.gpu

LIMITS = EngineLimits(5, 16, 96, 16, 40)


DEVICE = torch.device("cuda", 0)


def gpu_executor(path, limits: EngineLimits, drafter: Drafter | None = None):
    model = load_model(path, torch.float32, limits.max_model_tokens, device=DEVICE)
    arena = KVArena.allocate(model.config, limits.total_blocks + 1, limits.block_tokens, torch.float32, DEVICE)
    slots, resident = slots_of(limits), ResidentAdapters(arena.block_rows)
    speculation = Speculation(drafter, arena, branching=False) if drafter is not None else None

    def general(attention: AttentionBackend) -> Executor:
        blocks = limits.block_tokens
        return Executor(model, attention, slots, blocks, adapters=resident, speculation=speculation)

    return executor_builder(DEVICE)(model, arena, slots, general)


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


def test_adapters_give_the_tokens_of_the_cpu(tiny_path, tmp_path) -> None:
    adapter = write_tiny_adapter(tmp_path / "red", tiny_path, 1, rank=4)
    bench = Bench.load(tiny_path, blocks=100)
    bench.adapt("red", adapter)
    prompt = [7, 3, 99, 200, 41]
    expected = bench.generate(prompt, 8, adapter="red")
    executor = gpu_executor(tiny_path, EngineLimits(2, 64, 96, 4, 100))
    resident = executor._general.resident
    config = executor._steps.model.config
    paged = paginate(read_peft(adapter, config, 64), config, resident._blocks.shape[1], torch.float32)
    resident.offered["red"] = paged
    blocks = np.arange(50, 50 + paged.page_count, dtype=np.int32)
    updates = [(0, index, index) for index in range(5)]
    plan = replace(rows_plan([(0, 0, len(prompt), True)], updates), adapters=(AdapterLoad("red", blocks),))
    executor.apply(plan, [SlotLoad(0, prompt, Sampling(8, ignore_eos=True), "red")])
    given = [int(executor.launch(plan)().tokens[0])]
    while len(given) < 8:
        decode = rows_plan([(0, len(prompt) + len(given) - 1, 1, True)])
        executor.apply(decode, [])
        given.append(int(executor.launch(decode)().tokens[0]))
    assert given == expected


def test_drafts_change_nothing(tiny_path) -> None:
    limits = dataclasses.replace(LIMITS, max_draft_tokens=4)
    samplings = [Sampling(20), Sampling(14, temperature=1.0, seed=7)]
    expected = answers(cpu_executor(tiny_path, LIMITS), samplings, LIMITS)
    assert answers(gpu_executor(tiny_path, limits, NGramDrafter()), samplings, limits) == expected


@pytest.mark.parametrize("quantization", ["Int8", "Int4"])
def test_decoded_weights_are_those_of_the_cpu(quantization) -> None:
    weight, x = torch.randn(192, 96), torch.randn(5, 96)
    numbers = NumberFormat.choose(torch.float32, quantization, "cuda")
    expected = numbers.linear(weight)(x)
    torch.testing.assert_close(numbers.linear(weight.to(DEVICE))(x.to(DEVICE)).cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_ranks_add_up_over_nccl(tmp_path) -> None:
    def as_rank(rank: int) -> list[float]:
        device = torch.device("cuda", rank)
        with torch.cuda.device(device):
            group = open_group(device, rank, 2, tmp_path / "meeting", 60)
            total = group.summed(torch.full((2,), rank + 1.0, device=device))
            return [*total.tolist(), *group.gathered(torch.full((1, 1), float(rank), device=device))[0].tolist()]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(as_rank, range(2))) == [[3.0, 3.0, 0.0, 1.0]] * 2
