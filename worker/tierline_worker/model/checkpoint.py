"""What every kind of model file offers to the loader: a configuration and tensors by name."""

from typing import Protocol

import torch

from tierline_worker.model.config import ModelConfig
from tierline_worker.model.quantize import Groups4


class Checkpoint(Protocol):
    """A model on disk. Tensor names are those of Hugging Face checkpoints, whatever the file calls them."""

    @property
    def config(self) -> ModelConfig: ...

    def tensor(self, name: str) -> torch.Tensor:
        """Return one tensor in the layout of a Hugging Face checkpoint; raises `ModelError` when it is not there."""
        ...

    def groups(self, name: str) -> Groups4 | None:
        """Return a matrix's own 4-bit numbers, None where the file has it in another format or not at all."""
        ...
