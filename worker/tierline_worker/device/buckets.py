"""Decode batches padded to a few sizes, so that each size is one program that is made once and replayed.

Without graphs a small model's decode is bound by the launches of its few hundred kernels; a replay is one launch.
Padding rows decode position 0 of a slot that nobody owns.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import torch

from tierline.scheduling.plans import BatchPlan
from tierline_worker.device.sampler import Draw
from tierline_worker.device.steps import Steps

Program = Callable[[], torch.Tensor]


class Captures(Protocol):
    """Turns a program over fixed tensors into one that can be run again and again."""

    def capture(self, program: Program) -> Program: ...


class Eagerly:
    """Runs the program anew each time: for devices without graphs."""

    def capture(self, program: Program) -> Program:
        return program


def bucket_sizes(most: int) -> list[int]:
    """Return the sizes up to one that holds `most` rows: doubling, then by 16, then by 32."""
    sizes = [1, 2, 4, 8, 16, 32, 48, 64]
    while sizes[-1] < most:
        sizes.append(sizes[-1] + 32)
    return [size for index, size in enumerate(sizes) if index == 0 or sizes[index - 1] < most]


class Decodes:
    """Runs plans of decodes only by the smallest program that holds them."""

    def __init__(self, steps: Steps, captures: Captures, most: int) -> None:
        self._steps = steps
        self._captures = captures
        self._sizes = bucket_sizes(most)
        self._inputs: dict[int, torch.Tensor] = {}
        self._programs: dict[tuple[int, Draw], Program] = {}

    def prepare(self) -> None:
        """Make all programs, the largest first: smaller ones find their memory in its pool."""
        for size in reversed(self._sizes):
            for draw in Draw:
                self._program(size, draw)

    def run(self, plan: BatchPlan, draw: Draw) -> torch.Tensor:
        """Compute `plan`; returns int64 [2, rows] as `Steps.decode`, to be read before the next run."""
        rows = len(plan.slots)
        size = next(size for size in self._sizes if size >= rows)
        padded = np.zeros((2, size), np.int64)
        padded[0] = self._steps.state.padding
        padded[0, :rows], padded[1, :rows] = plan.slots, plan.starts
        (sent,) = self._steps.transport.send(padded)
        program, inputs = self._program(size, draw), self._inputs[size]
        inputs.copy_(sent)
        result = program()
        if draw is Draw.LIMITED:
            result = self._steps.sample(result, inputs[0], inputs[1] + 1, draw)
        return result[:, :rows]

    def _program(self, size: int, draw: Draw) -> Program:
        if (size, draw) not in self._programs:
            rows = self._inputs.setdefault(size, self._padding(size))
            # To draw from a limited part, the vocabulary is sorted, in whatever way torch finds best: not captured.
            half = partial(self._steps.logits, rows)
            whole = partial(self._steps.decode, rows, draw)
            self._programs[size, draw] = self._captures.capture(half if draw is Draw.LIMITED else whole)
        return self._programs[size, draw]

    def _padding(self, size: int) -> torch.Tensor:
        rows = torch.zeros((2, size), dtype=torch.int64, device=self._steps.transport.device)
        rows[0] = self._steps.state.padding
        return rows
