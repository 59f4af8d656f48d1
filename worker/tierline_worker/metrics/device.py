"""The hardware's signals: what an engine runs on, and how fast that was when it warmed up."""

import os
from dataclasses import dataclass

import torch

from tierline.scheduling.latency import Roofline
from tierline.telemetry import worker_metrics as names


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """`roofline` is what the warm-up measured."""

    device: torch.device
    dtype: torch.dtype
    roofline: Roofline

    def readings(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Return the gauges by name and labels."""
        values = {
            names.DEVICE_MEMORY_BYTES: _memory_bytes(self.device),
            names.WEIGHT_BYTES: self.roofline.weight_bytes,
            names.KV_TOKEN_BYTES: self.roofline.kv_bytes_per_token,
            names.MEMORY_BYTES_PER_SECOND: self.roofline.bytes_per_second,
            names.FLOPS_PER_SECOND: self.roofline.flops_per_second,
        }
        labels = (_device_name(self.device), str(self.dtype).removeprefix("torch."))
        return {**{name: {(): float(value)} for name, value in values.items()}, names.DEVICE: {labels: 1.0}}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _memory_bytes(device: torch.device) -> int:
    """Return the memory of a GPU, or of the machine that a CPU worker shares with others."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
