"""Where a worker computes, and which executor does it there."""

import importlib
import importlib.util
from collections.abc import Callable

import torch

from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.engine.flights import Executes
from tierline_worker.errors import SettingsError
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.slots import SlotTable

MakesGeneral = Callable[[AttentionBackend], Executor]
"""Makes the executor that can compute every plan, with the attention of its device."""

Builds = Callable[[Decoder, KVArena, SlotTable, MakesGeneral], Executes]
"""Makes the executor that the engine gets, around or instead of the general one."""


def choose_device(setting: str) -> torch.device:
    """Return the device that `setting` names; `auto` takes a GPU where torch and Triton can use one.

    Raises `SettingsError` when a GPU is asked for and there is none.
    """
    usable = torch.cuda.is_available() and importlib.util.find_spec("triton") is not None
    if setting == "auto":
        return torch.device("cuda", 0) if usable else torch.device("cpu")
    device = torch.device(setting)
    if device.type == "cuda" and not (usable and (device.index or 0) < torch.cuda.device_count()):
        raise SettingsError(
            f"TIERLINE_DEVICE is {setting!r}: torch finds no such GPU, or Triton is missing; set it to auto or cpu"
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def executor_builder(device: torch.device) -> Builds:
    """Return what puts the executor for `device` together.

    A GPU's is loaded here, by name: where there is none, there may be no Triton to import.
    """
    if device.type == "cpu":
        return _on_cpu
    on_gpu: Builds = importlib.import_module("tierline_worker.device.cuda").executor_on_gpu
    return on_gpu


def _on_cpu(_model: Decoder, arena: KVArena, _slots: SlotTable, general: MakesGeneral) -> Executes:
    return general(CPUAttention(arena))
