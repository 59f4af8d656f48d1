"""Executes plans: keeps the slots, runs the model over the flat batch, samples and reports."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline.wire.frames import TokenLogprobs
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.batch import FlatBatch, flatten
from tierline_worker.model.decoder import Decoder
from tierline_worker.sampling.choice import choose
from tierline_worker.slots import SlotLoad, SlotTable


class NotFinite(ArithmeticError):
    """The model's output for a request holds NaN or infinity."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Per row of the plan: its new token (-1 where the plan samples none) and whether that ends the request.

    `logprobs` holds, by row, those of the row's new tokens in order, for requests that asked for them.
    """

    tokens: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    logprobs: Mapping[int, tuple[TokenLogprobs, ...]] = field(default_factory=dict)


Pending = Callable[[], Sampled]
"""A launched plan: call it once to wait for the result; it raises whatever computing raised."""


class LockStep:
    """What executors share that compute within the call: nothing is planned before the iteration has its result.

    On a CPU planning ahead gains nothing: planning and delivery take 0.15 ms of a 16 ms step with one request and
    0.65 ms with 256, and with the computation in a thread and on a core of its own a step took 0.97 to 1.01 of its
    time, alternated, with 1 and 16.
    """

    max_in_flight = 1

    def may_run_ahead(self, _plan: BatchPlan, _loads: Sequence[SlotLoad]) -> bool:
        return False

    def launch(self, plan: BatchPlan) -> Pending:
        return partial(self.compute, plan)

    @abstractmethod
    def compute(self, plan: BatchPlan) -> Sampled: ...


class Executor(LockStep):
    """One model on one device. `apply` takes a plan's deltas once; `compute` may be repeated for the same rows.

    Repeating is harmless since a row writes the same KV to the same places; that is how the engine finds out which
    request of a failed batch was at fault.
    """

    def __init__(
        self,
        model: Decoder,
        attention: AttentionBackend,
        slots: SlotTable,
        block_tokens: int,
        adapters: ResidentAdapters | None = None,
    ) -> None:
        self._device = model.embedding.device
        self._adapters = adapters
        self._model = model
        self._attention = attention
        self._slots = slots
        self._block_tokens = block_tokens

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> None:
        """Take over newly admitted requests and changes of the block table."""
        for load in loads:
            self._slots.load(load)
        if self._adapters is not None:
            for adapter in plan.adapters:
                self._adapters.load(adapter.adapter, adapter.blocks)
        self._slots.update_blocks(plan)

    def compute(self, plan: BatchPlan) -> Sampled:
        """Run the plan's rows and write each sampled token to its position; raises what torch raises, `NotFinite`."""
        batch = flatten(plan, self._slots.blocks, self._block_tokens)
        rows = np.flatnonzero(plan.samples)
        with torch.inference_mode():
            logits = self._model.forward(
                self._on_device(self._slots.tokens[batch.slots, batch.positions]),
                self._on_device(batch.positions),
                self._attention.prepare(batch),
                self._on_device(batch.last[rows]),
                self._adapters.batch(batch, self._slots.adapters(plan.slots)) if self._adapters else None,
            )
            if not torch.isfinite(logits.sum()):
                self._reject(batch)
            return self._sample(plan, rows, logits.cpu())

    def _on_device(self, values: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _reject(self, batch: FlatBatch) -> NoReturn:
        # In a larger batch it is not known yet whose numbers they are.
        if len(batch.counts) == 1:
            self._attention.clear(batch.tables)
        raise NotFinite("the model's output is not finite")

    def _sample(self, plan: BatchPlan, rows: NDArray[np.intp], logits: torch.Tensor) -> Sampled:
        slots = plan.slots[rows].astype(np.int64)
        positions = (plan.starts + plan.counts)[rows].astype(np.int64)
        choice = choose(logits, self._slots.sampling, self._slots.tokens, slots, positions)
        self._slots.tokens[slots, positions] = choice.tokens
        tokens, stopped = np.full(len(plan.slots), -1), np.zeros(len(plan.slots), dtype=np.bool_)
        tokens[rows] = choice.tokens
        stopped[rows] = self._slots.sampling.stops(slots, choice.tokens)
        return Sampled(tokens, stopped, {int(rows[at]): (told,) for at, told in choice.logprobs.items()})
