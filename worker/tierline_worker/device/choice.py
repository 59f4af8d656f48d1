"""Where a worker computes."""

import importlib
import importlib.util
from collections.abc import Callable

import torch

from tierline_worker.device.executor import DeviceExecutor
from tierline_worker.errors import SettingsError
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.slots import SlotTable


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


def gpu_executor_maker() -> Callable[[Decoder, KVArena, SlotTable], DeviceExecutor]:
    """Return `executor_on_gpu`. Its module is loaded here, by name: without a GPU there may be no Triton to import."""
    maker: Callable[[Decoder, KVArena, SlotTable], DeviceExecutor]
    maker = importlib.import_module("tierline_worker.device.cuda").executor_on_gpu
    return maker
