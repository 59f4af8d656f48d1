"""Executes plans: keeps the slots, runs the model over the flat batch, samples and reports."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.scheduling.memory.transfers import Direction
from tierline.scheduling.plans import BatchPlan
from tierline.wire.frames import TokenLogprobs
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.batch import FlatBatch, Ints, flatten, with_trees
from tierline_worker.model.decoder import Decoder
from tierline_worker.sampling.choice import choose
from tierline_worker.slots import SlotLoad, SlotTable
from tierline_worker.speculation.speculation import Speculation
from tierline_worker.speculation.verification import Verified, Work
from tierline_worker.tiers.tiers import KVTiers


class NotFinite(ArithmeticError):
    """The model's output for a request holds NaN or infinity."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Per row of the plan: its new token (-1 where the plan samples none) and whether that ends the request.

    `logprobs` holds, by row, those of the row's new tokens in order, for requests that asked for them. `followed` are,
    by row, the tokens after the first of rows whose drafts were accepted; `drafted` (empty: none) counts the verified.
    """

    tokens: NDArray[np.int64]
    stopped: NDArray[np.bool_]
    logprobs: Mapping[int, tuple[TokenLogprobs, ...]] = field(default_factory=dict)
    followed: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    drafted: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def given(self, row: int) -> tuple[int, ...]:
        """Return the new tokens of a row that sampled."""
        return (int(self.tokens[row]), *self.followed.get(row, ()))

    @property
    def counts(self) -> NDArray[np.int32]:
        """How many tokens each row gave; empty where nothing was drafted, as `IterationResult` has it."""
        if not len(self.drafted):
            return self.drafted
        counts = (self.tokens >= 0).astype(np.int32)
        for row, tokens in self.followed.items():
            counts[row] += len(tokens)
        return counts


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
        *,
        adapters: ResidentAdapters | None = None,
        speculation: Speculation | None = None,
        tiers: KVTiers | None = None,
    ) -> None:
        self._device = model.embedding.device
        self._tiers = tiers
        self.resident = adapters
        self._speculation = speculation
        self._model = model
        self._attention = attention
        self._slots = slots
        self._block_tokens = block_tokens

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> Mapping[int, Exception]:
        """Take over newly admitted requests and changes of the block table, move KV in the order a plan documents.

        Returns, by slot, why requests could not be taken over; all else is done.
        """
        self._transfer(plan, Direction.SAVE)
        errors = {load.slot: error for load in loads if (error := self._load(load)) is not None}
        if self.resident is not None:
            for adapter in plan.adapters:
                self.resident.load(adapter.adapter, adapter.blocks)
        self._slots.update_blocks(plan)
        if len(plan.copies):
            self._attention.copy(plan.copies)
        self._transfer(plan, Direction.LOAD)
        return errors

    def _load(self, load: SlotLoad) -> Exception | None:
        if self._speculation is not None:
            self._speculation.forget(load.slot)
        try:
            self._slots.load(load)
        except Exception as error:  # noqa: BLE001 whatever is wrong with a request must not fail the others
            return error
        return None

    def clear(self, blocks: NDArray[np.int32]) -> None:
        """Zero the KV of blocks that a failed request left, so that their numbers do no harm to the next owner."""
        self._attention.clear(blocks)

    def _transfer(self, plan: BatchPlan, direction: Direction) -> None:
        for transfer in plan.transfers:
            if transfer.direction is direction:
                assert self._tiers is not None, "a transfer without tiers"
                self._tiers.begin(transfer)

    def compute(self, plan: BatchPlan) -> Sampled:
        """Run the plan's rows and write each sampled token to its position; raises what torch raises, `NotFinite`."""
        with torch.inference_mode():
            if plan.drafts.any():
                return self._verify(plan)
            batch = flatten(plan, self._slots.blocks, self._block_tokens)
            rows = np.flatnonzero(plan.samples)
            token_ids = self._slots.tokens[batch.slots, batch.positions]
            return self._sample(plan, rows, self._logits(plan, batch, token_ids, batch.last[rows]))

    def _verify(self, plan: BatchPlan) -> Sampled:
        """Compute a plan that wants drafts: let them be proposed, sample behind each, keep what was accepted."""
        if self._speculation is None:
            raise RuntimeError("drafts are planned, but this executor has no drafter: set max_draft_tokens to 0")
        work = self._speculation.propose(plan, self._slots)
        batch = with_trees(flatten(work.plan, self._slots.blocks, self._block_tokens), work.branching)
        heads = work.heads(batch)
        logits = self._logits(work.plan, batch, work.token_ids(batch, self._slots.tokens), heads)
        slots, positions = batch.slots[heads], batch.positions[heads] + 1
        choice = choose(logits, self._slots.sampling, self._slots.tokens, slots, positions)
        verified = work.verify(choice.tokens, self._slots.sampling.stops(slots, choice.tokens))
        self._speculation.keep(work, verified, self._slots)
        return _accepted(plan, work, verified, choice.logprobs)

    def _logits(self, plan: BatchPlan, batch: FlatBatch, token_ids: Ints, heads: Ints) -> torch.Tensor:
        """Return logits [heads, vocab] behind the flat tokens `heads`; raises `NotFinite`."""
        logits = self._model.forward(
            self._on_device(token_ids),
            self._on_device(batch.positions),
            self._attention.prepare(batch),
            self._on_device(heads),
            self.resident.batch(batch.first, batch.last, self._slots.adapters(plan.slots)) if self.resident else None,
        )
        if not torch.isfinite(logits.sum()):
            raise NotFinite("the model's output is not finite")
        return logits.cpu()

    def _on_device(self, values: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _sample(self, plan: BatchPlan, rows: NDArray[np.intp], logits: torch.Tensor) -> Sampled:
        slots = plan.slots[rows].astype(np.int64)
        positions = (plan.starts + plan.counts)[rows].astype(np.int64)
        choice = choose(logits, self._slots.sampling, self._slots.tokens, slots, positions)
        self._slots.tokens[slots, positions] = choice.tokens
        tokens, stopped = np.full(len(plan.slots), -1), np.zeros(len(plan.slots), dtype=np.bool_)
        tokens[rows] = choice.tokens
        stopped[rows] = self._slots.sampling.stops(slots, choice.tokens)
        return Sampled(tokens, stopped, {int(rows[at]): (told,) for at, told in choice.logprobs.items()})


def _accepted(
    plan: BatchPlan, work: Work, verified: Mapping[int, Verified], logprobs: Mapping[int, TokenLogprobs]
) -> Sampled:
    """Return what the rows of `plan` gave; `verified` is by row of the work, `logprobs` by head."""
    sampled = nothing_sampled(plan)
    followed, told = dict[int, tuple[int, ...]](), dict[int, tuple[TokenLogprobs, ...]]()
    for row, outcome in verified.items():
        planned = int(work.order[row])
        sampled.tokens[planned], sampled.stopped[planned] = outcome.tokens[0], outcome.stopped
        if len(outcome.tokens) > 1:
            followed[planned] = outcome.tokens[1:]
        if outcome.first_head in logprobs:
            told[planned] = tuple(logprobs[head] for head in outcome.heads)
    drafted = np.zeros(len(plan.slots), np.int32)
    drafted[work.order] = work.plan.drafts
    return replace(sampled, logprobs=told, followed=followed, drafted=drafted)


def nothing_sampled(plan: BatchPlan) -> Sampled:
    """Return the result of a plan that gave no token."""
    return Sampled(np.full(len(plan.slots), -1), np.zeros(len(plan.slots), dtype=np.bool_))
