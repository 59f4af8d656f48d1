"""How small arrays get to a device and results back without the host waiting for either."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Transport(Protocol):
    """Copies in the order of the device's work."""

    device: torch.device

    def active(self) -> AbstractContextManager[object]:
        """Return within what the device's kernels must be launched: they go to the current device of a thread."""
        ...

    def send(self, *arrays: Ints) -> list[torch.Tensor]:
        """Return int64 tensors on the device with the values that `arrays` have now."""
        ...

    def fetch(self, result: torch.Tensor) -> Callable[[], Ints]:
        """Begin to copy `result` (int64) to the host; the returned call waits for it."""
        ...


class HostTransport:
    """The device is the CPU: nothing has to be copied."""

    device = torch.device("cpu")

    def active(self) -> AbstractContextManager[object]:
        return nullcontext()

    def send(self, *arrays: Ints) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]

    def fetch(self, result: torch.Tensor) -> Callable[[], Ints]:
        values: Ints = result.clone().numpy()
        return lambda: values
