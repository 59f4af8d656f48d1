"""Executes plans on a device that works by itself: launches return at once, results are waited for one step later.

What the device can do alone, it does from its own state: prompts and decodes with greedy, free or limited draws, with
adapters (whose products are torch's, adapter after adapter, so their decodes are no graphs). What needs the host in
between (drafts, moved KV, grammars, penalties and other edits of logits) is computed by the general `Executor` in
lock-step, on the same device; both keep the tokens of host and device alike.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline.wire.frames import Sampling
from tierline_worker.device.buckets import Decodes
from tierline_worker.device.steps import Steps
from tierline_worker.executor import Executor, NotFinite, Pending, Sampled
from tierline_worker.slots import SlotLoad, SlotTable

_ON_DEVICE = frozenset({"max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop_token_ids", "ignore_eos"})
_ON_HOST = tuple(name for name in Sampling.__struct_fields__ if name not in _ON_DEVICE)


class DeviceExecutor:
    """Runs one iteration ahead. `general` computes what the device cannot do alone, and rows one by one after an
    error; `slots` is the host's copy of tokens and tables, complete up to the last result that was waited for."""

    max_in_flight = 2

    def __init__(self, general: Executor, slots: SlotTable, steps: Steps, decodes: Decodes) -> None:
        self._general = general
        self._slots = slots
        self._steps = steps
        self._decodes = decodes
        self._hosted = np.zeros(slots.tokens.shape[0], np.bool_)
        self._postponed = False

    def apply(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> Mapping[int, Exception]:
        """Take over a plan's deltas on host and device; see `Executor.apply`."""
        with torch.inference_mode(), self._steps.transport.active():
            errors = self._general.apply(plan, loads)
            loaded = [load for load in loads if load.slot not in errors]
            for load in loaded:
                self._hosted[load.slot] = needs_host(load)
            self._steps.state.load(loaded)
            self._steps.state.update_blocks(plan.block_updates)
        return errors

    def may_run_ahead(self, plan: BatchPlan, loads: Sequence[SlotLoad]) -> bool:
        """Say whether `plan` needs nothing of the one before it but what that leaves on the device."""
        hosted = bool(self._hosted[plan.slots].any()) or any(map(needs_host, loads))
        return not (hosted or self._postponed or _moves(plan))

    def launch(self, plan: BatchPlan) -> Pending:
        """Queue the plan on the device; one that needs the host is computed when its result is asked for.

        So the tokens of the one before it are delivered first; nothing runs ahead meanwhile.
        """
        if self._needs_host(plan):
            self._postponed = True
            return partial(self._compute_now, plan)
        draw = self._steps.state.draw(plan.slots[plan.samples])
        with torch.inference_mode(), self._steps.transport.active():
            keys = self._slots.adapters(plan.slots)
            replayed = plan.decodes == len(plan.slots) and not any(keys)
            result = self._decodes.run(plan, draw) if replayed else self._steps.mixed(plan, draw, keys)
            fetched = self._steps.transport.fetch(result)
        return partial(self._finish, plan, fetched)

    def compute(self, plan: BatchPlan) -> Sampled:
        """Compute a plan with the host's help and wait for it."""
        counts = plan.counts.astype(np.int64) + 1
        rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows] + plan.starts[rows].astype(np.int64)
        with torch.inference_mode(), self._steps.transport.active():
            sampled = self._general.compute(plan)
            self._steps.state.copy_tokens(self._slots, plan.slots[rows].astype(np.int64), positions)
        return sampled

    def clear(self, blocks: NDArray[np.int32]) -> None:
        """Zero the KV of blocks that a failed request left."""
        with torch.inference_mode(), self._steps.transport.active():
            self._general.clear(blocks)

    def _compute_now(self, plan: BatchPlan) -> Sampled:
        self._postponed = False
        return self.compute(plan)

    def _needs_host(self, plan: BatchPlan) -> bool:
        return bool(plan.drafts.any() or self._hosted[plan.slots].any())

    def _finish(self, plan: BatchPlan, fetched: Callable[[], NDArray[np.int64]]) -> Sampled:
        tokens, finite = fetched()
        rows = np.flatnonzero(plan.samples)
        if not finite.all():
            raise NotFinite("the model's output is not finite")
        slots, positions = plan.slots[rows].astype(np.int64), (plan.starts + plan.counts)[rows]
        self._slots.tokens[slots, positions] = tokens
        sampled = Sampled(np.full(len(plan.slots), -1), np.zeros(len(plan.slots), np.bool_))
        sampled.tokens[rows] = tokens
        sampled.stopped[rows] = self._slots.sampling.stops(slots, tokens)
        return sampled


def needs_host(load: SlotLoad) -> bool:
    """Say whether a request's tokens cannot be chosen by the device alone."""
    return any(getattr(load.sampling, name) != _default(name) for name in _ON_HOST)


def _default(name: str) -> object:
    return getattr(_PLAIN, name)


_PLAIN = Sampling(max_tokens=1)


def _moves(plan: BatchPlan) -> bool:
    return bool(len(plan.copies) or plan.transfers or plan.adapters or plan.drafts.any())
