"""Where a worker computes, and which executor does it there."""

import importlib
import importlib.util

import torch

from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.device.building import Builds, MakesAttention, MakesGeneral
from tierline_worker.engine.flights import Executes
from tierline_worker.errors import SettingsError
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.slots import SlotTable


def choose_device(setting: str, rank: int = 0) -> torch.device:
    """Return the device that `setting` names; `auto` takes a GPU where torch and Triton can use one.

    Rank `rank` of several has the GPU that many behind. Raises `SettingsError` when a GPU is asked for and there is
    none.
    """
    usable = torch.cuda.is_available() and importlib.util.find_spec("triton") is not None
    device = torch.device(("cuda" if usable else "cpu") if setting == "auto" else setting)
    if device.type == "cpu":
        return device
    index = (device.index or 0) + rank
    if not (usable and index < torch.cuda.device_count()):
        raise SettingsError(
            f"TIERLINE_DEVICE is {setting!r}: torch finds no GPU {index}, or Triton is missing; "
            + ("lower TIERLINE_TENSOR_PARALLEL" if rank else "set it to auto or cpu")
        )
    return torch.device("cuda", index)


def executor_builder(device: torch.device, *, lock_step: bool = False) -> Builds:
    """Return what puts the executor for `device` together; with `lock_step` that of one rank of several.

    A GPU's is loaded here, by name: where there is none, there may be no Triton to import.
    """
    if device.type == "cpu":
        return _on_cpu
    module = importlib.import_module("tierline_worker.device.cuda")
    on_gpu: Builds = module.lock_step_on_gpu if lock_step else module.executor_on_gpu
    return on_gpu


def attention_maker(device: torch.device) -> MakesAttention:
    """Return what makes the attention of `device` over another arena there, as a draft model's."""
    if device.type == "cpu":
        return lambda _model, arena: CPUAttention(arena)
    on_gpu: MakesAttention = importlib.import_module("tierline_worker.device.cuda").attention_on_gpu
    return on_gpu


def _on_cpu(_model: Decoder, arena: KVArena, _slots: SlotTable, general: MakesGeneral) -> Executes:
    return general(CPUAttention(arena))
