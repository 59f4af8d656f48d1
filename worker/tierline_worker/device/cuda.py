"""Puts the executor for a GPU together. Imported only where a GPU is used: it needs CUDA and Triton."""

import torch

from tierline_worker.attention.triton_backend import TritonAttention
from tierline_worker.device.buckets import Decodes
from tierline_worker.device.building import MakesGeneral
from tierline_worker.device.cuda_graphs import CUDAGraphs
from tierline_worker.device.cuda_transport import PinnedTransport
from tierline_worker.device.executor import DeviceExecutor
from tierline_worker.device.state import DeviceState
from tierline_worker.device.steps import Steps
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.slots import SlotTable


def executor_on_gpu(model: Decoder, arena: KVArena, slots: SlotTable, general: MakesGeneral) -> DeviceExecutor:
    """Return the executor of `model`, on the GPU that holds it and `arena`, with all decode graphs captured.

    `general` computes what needs the host. The arena's last block is the padding rows'; plans must not name it.
    """
    device = arena.pages.device
    with torch.inference_mode(), torch.cuda.device(device):
        transport = PinnedTransport(device)
        attention = _attention(model, arena, transport)
        host = general(attention)
        state = DeviceState(slots, arena.blocks - 1, transport)
        steps = Steps(model, attention, state, transport, arena.block_tokens, host.resident)
        decodes = Decodes(steps, CUDAGraphs(device), slots.tokens.shape[0])
        decodes.prepare()
    return DeviceExecutor(host, slots, steps, decodes)


def lock_step_on_gpu(model: Decoder, arena: KVArena, _slots: SlotTable, general: MakesGeneral) -> Executor:
    """Return the executor of one rank of several: no graphs, nothing runs ahead of the ranks' common plan."""
    return general(attention_on_gpu(model, arena))


def attention_on_gpu(model: Decoder, arena: KVArena) -> TritonAttention:
    """Return the attention of `model` over an arena on a GPU."""
    return _attention(model, arena, PinnedTransport(arena.pages.device))


def _attention(model: Decoder, arena: KVArena, transport: PinnedTransport) -> TritonAttention:
    processors = torch.cuda.get_device_properties(arena.pages.device).multi_processor_count
    return TritonAttention(arena, model.config.heads, transport, processors)
