"""Copies between host and GPU over pinned memory, ordered by the current stream. Needs CUDA."""

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_BUFFERS = 8
_FIRST_NUMBERS = 4096


class _Upload:
    """A pinned buffer and the event after the copy that reads it: it must not change before."""

    def __init__(self) -> None:
        self.numbers = torch.empty(_FIRST_NUMBERS, dtype=torch.int64, pin_memory=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def fill(self, arrays: tuple[Ints, ...]) -> torch.Tensor:
        total = sum(array.size for array in arrays)
        self.copied.synchronize()
        if self.numbers.numel() < total:
            self.numbers = torch.empty(2 * total, dtype=torch.int64, pin_memory=True)
        np.concatenate([array.reshape(-1) for array in arrays], out=self.numbers.numpy()[:total])
        return self.numbers[:total]


class PinnedTransport:
    """One copy a call in each direction; buffers for uploads take turns, and are free again long before their turn."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._uploads = deque(_Upload() for _ in range(_BUFFERS))

    def active(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self.device)

    def send(self, *arrays: Ints) -> list[torch.Tensor]:
        upload = self._uploads[0]
        self._uploads.rotate(-1)
        numbers = upload.fill(arrays).to(self.device, non_blocking=True)
        upload.copied.record()
        parts = torch.split(numbers, [array.size for array in arrays])
        return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]

    def fetch(self, result: torch.Tensor) -> Callable[[], Ints]:
        on_host = torch.empty(result.shape, dtype=torch.int64, pin_memory=True)
        on_host.copy_(result, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

        def wait() -> Ints:
            copied.synchronize()
            values: Ints = on_host.numpy()
            return values

        return wait
