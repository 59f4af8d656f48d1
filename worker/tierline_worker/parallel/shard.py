"""Which part of a model a rank holds.

Heads of query, key and value, the inner columns of the MLP and the vocabulary are divided into equal runs. A layer that
divides its outputs needs nothing from other ranks, the next divides its inputs and adds the ranks' results up: two sums
per layer. Embedding and norms are whole everywhere.
"""

import dataclasses
from dataclasses import dataclass
from enum import Enum

import torch

from tierline_worker.errors import SettingsError
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.linear import Linear
from tierline_worker.model.quantize import GROUP, Groups4
from tierline_worker.parallel.group import RankGroup


class Split(Enum):
    """Which side of a matrix is divided over the ranks; the value is the dimension of [out, in]."""

    OUTPUTS = 0
    INPUTS = 1


@dataclass(frozen=True, slots=True)
class Sharding:
    """One rank's part; without a group it is the whole model."""

    group: RankGroup | None = None

    @property
    def rank(self) -> int:
        return self.group.rank if self.group else 0

    @property
    def ranks(self) -> int:
        return self.group.ranks if self.group else 1

    def config(self, whole: ModelConfig) -> ModelConfig:
        """Return the sizes of a rank's part; raises `SettingsError` where they do not divide."""
        if self.group is None:
            return whole
        check_divides(whole, self.ranks)
        return dataclasses.replace(
            whole,
            heads=whole.heads // self.ranks,
            kv_heads=whole.kv_heads // self.ranks,
            intermediate_size=whole.intermediate_size // self.ranks,
        )

    def part(self, tensor: torch.Tensor, split: Split = Split.OUTPUTS) -> torch.Tensor:
        """Return this rank's part of a matrix [out, in] or, by its outputs, of a bias [out]."""
        return tensor if self.group is None else tensor.chunk(self.ranks, dim=split.value)[self.group.rank]

    def part_of_groups(self, groups: Groups4, split: Split) -> Groups4 | None:
        """Return this rank's part of a 4-bit matrix, None where its groups of 32 would be torn."""
        if self.group is None:
            return groups
        if split is Split.INPUTS and groups.values.shape[1] % (GROUP * self.ranks):
            return None
        return Groups4(
            self.part(groups.values, split), self.part(groups.scale, split), self.part(groups.minimum, split)
        )

    def joined(self, linear: Linear, split: Split) -> Linear:
        """Return the layer that gives what its followers expect: parts stay parts, partial sums become the sum."""
        return linear if self.group is None or split is Split.OUTPUTS else SummedLinear(linear, self.group)

    def head(self, weight: torch.Tensor) -> torch.Tensor:
        """Return this rank's tokens of the vocabulary, all of them where they do not divide."""
        return self.part(weight) if self._divides_vocabulary(weight) else weight

    def joined_head(self, linear: Linear, weight: torch.Tensor) -> Linear:
        """Return the layer that gives the logits of the whole vocabulary; `weight` is all of it."""
        return GatheredLinear(linear, self.group) if self.group and self._divides_vocabulary(weight) else linear

    def _divides_vocabulary(self, weight: torch.Tensor) -> bool:
        return weight.shape[0] % self.ranks == 0


class SummedLinear:
    """A layer of which each rank has some inputs."""

    def __init__(self, linear: Linear, group: RankGroup) -> None:
        self._linear, self._group = linear, group
        self.weight_bytes = linear.weight_bytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._group.summed(self._linear(x))


class GatheredLinear:
    """A layer of which each rank has some outputs, but whose followers need all."""

    def __init__(self, linear: Linear, group: RankGroup) -> None:
        self._linear, self._group = linear, group
        self.weight_bytes = linear.weight_bytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._group.gathered(self._linear(x))


def check_divides(config: ModelConfig, ranks: int) -> None:
    """Raise `SettingsError` when `config` has sizes that do not divide over `ranks`."""
    sizes = {
        "attention heads": config.heads,
        "key/value heads": config.kv_heads,
        "numbers inside the MLP": config.intermediate_size,
    }
    for name, size in sizes.items():
        if size % ranks:
            possible = [str(n) for n in range(1, ranks) if all(value % n == 0 for value in sizes.values())]
            raise SettingsError(
                f"TIERLINE_TENSOR_PARALLEL is {ranks}: the model's {size} {name} do not divide over so many ranks, "
                f"set the fleet's engine.tensorParallel to {' or '.join(possible)}"
            )
