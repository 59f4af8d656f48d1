"""The whole way of requests through the Triton kernels: prompts, decodes, both in one batch."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from device_testing import cpu_executor, slots_of
from engine_testing import rows_plan

from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling
from tierline_worker.device import cuda
from tierline_worker.device.buckets import Eagerly
from tierline_worker.device.transport import HostTransport
from tierline_worker.engine.flights import Executes
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.load import load_model
from tierline_worker.slots import SlotLoad

LIMITS = EngineLimits(2, 32, 64, 16, 8)
PROMPTS = [[5, 9, 77], [200, 6]]


def tokens_of(executor: Executes) -> list[list[int]]:
    """A prompt beside a decode of another request, then both decode."""
    plans = [
        rows_plan([(1, 0, 2, True)], [(1, 0, 5)]),
        rows_plan([(1, 2, 1, True), (0, 0, 3, True)], [(0, 0, 2)]),
        rows_plan([(0, 3, 1, True), (1, 3, 1, True)]),
    ]
    loads = [SlotLoad(slot, prompt, Sampling(9, ignore_eos=True)) for slot, prompt in enumerate(PROMPTS)]
    results = []
    for plan in plans:
        executor.apply(plan, loads)
        loads = []
        results.append(executor.launch(plan)().tokens.tolist())
    return results


@pytest.mark.skipif(torch.cuda.is_available(), reason="its tensors are the interpreter's; `test_on_gpu` has the GPU's")
def test_tokens_are_those_of_the_cpu(tiny_path, monkeypatch) -> None:
    """The GPU's executor as workers make it, but for copies and graphs, which a CPU does without."""
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(multi_processor_count=3))
    monkeypatch.setattr(cuda, "PinnedTransport", lambda _device: HostTransport())
    monkeypatch.setattr(cuda, "CUDAGraphs", lambda _device: Eagerly())
    model = load_model(tiny_path, torch.float32, LIMITS.max_model_tokens)
    arena = KVArena.allocate(model.config, LIMITS.total_blocks + 1, LIMITS.block_tokens, torch.float32)
    arena.pages.fill_(float("nan"))
    slots = slots_of(LIMITS)
    on_gpu = cuda.executor_on_gpu(
        model, arena, slots, lambda attention: Executor(model, attention, slots, LIMITS.block_tokens)
    )
    assert tokens_of(on_gpu) == tokens_of(cpu_executor(tiny_path, LIMITS))
