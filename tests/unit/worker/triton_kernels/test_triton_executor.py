"""The whole way of a request through the Triton kernels: prompt chunks, decodes, company, preemption of neither."""

import pytest
import torch
from device_testing import cpu_executor, device_executor
from engine_testing import rows_plan

from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling
from tierline_worker.attention.triton_backend import TritonAttention
from tierline_worker.device.transport import HostTransport
from tierline_worker.engine.flights import Executes
from tierline_worker.slots import SlotLoad

LIMITS = EngineLimits(2, 32, 64, 16, 8)
PROMPTS = [[5, 9, 77, 3, 120, 44, 8], [200, 6, 31]]


def tokens_of(executor: Executes) -> list[list[int]]:
    """A prompt in two chunks beside a decode of another request, then both decode."""
    plans = [
        rows_plan([(1, 0, 3, True)], [(1, 0, 5)]),
        rows_plan([(1, 3, 1, True), (0, 0, 4, False)], [(0, 0, 2)]),
        rows_plan([(1, 4, 1, True), (0, 4, 3, True)]),
        rows_plan([(0, 7, 1, True), (1, 5, 1, True)]),
    ]
    loads = [SlotLoad(slot, prompt, Sampling(9, ignore_eos=True)) for slot, prompt in enumerate(PROMPTS)]
    results = []
    for plan in plans:
        executor.apply(plan, loads)
        loads = []
        results.append(executor.launch(plan)().tokens.tolist())
    return results


@pytest.mark.skipif(torch.cuda.is_available(), reason="its tensors are the interpreter's; `test_on_gpu` has the GPU's")
def test_tokens_are_those_of_the_cpu(tiny_path) -> None:
    def attention(arena):
        arena.pages.fill_(float("nan"))
        return TritonAttention(arena, 4, HostTransport(), processors=3)

    assert tokens_of(device_executor(tiny_path, LIMITS, attention)) == tokens_of(cpu_executor(tiny_path, LIMITS))
