"""Puts the executor for a GPU together. Imported only where a GPU is used: it needs CUDA and Triton."""

import torch

from tierline_worker.attention.triton_backend import TritonAttention
from tierline_worker.device.buckets import Decodes
from tierline_worker.device.choice import MakesGeneral
from tierline_worker.device.cuda_graphs import CUDAGraphs
from tierline_worker.device.cuda_transport import PinnedTransport
from tierline_worker.device.executor import DeviceExecutor
from tierline_worker.device.state import DeviceState
from tierline_worker.device.steps import Steps
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
        processors = torch.cuda.get_device_properties(device).multi_processor_count
        attention = TritonAttention(arena, model.config.heads, transport, processors)
        state = DeviceState(slots, arena.blocks - 1, transport)
        steps = Steps(model, attention, state, transport, arena.block_tokens)
        decodes = Decodes(steps, CUDAGraphs(device), slots.tokens.shape[0])
        decodes.prepare()
    return DeviceExecutor(general(attention), slots, steps, decodes)
