"""Which rows of a batch verify drafts, and how many: the rates, the goodput formula and the switch put together.

A row drafts as `speculation.draft_lengths` says, if its tier allows it, its rate is stable and the switch is on. Others
are explored: now and then one draft, after a wait that doubles as long as nothing is accepted, so that a text which
becomes predictable is noticed. Exploring costs at most `EXPLORED_SHARE` of the time by the latency model: each
iteration saves up that share, and each explored draft spends its price.

Drafts never take what others need: a prompt keeps half of what decodes leave of the token budget, blocks are taken only
beyond what waiting contexts need, and no row's time per token grows over its budget. Unneeded blocks go back at commit.

A row whose drafts are in flight has an unknown length. It is not planned again before its result is committed.
"""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.latency import BatchFeatures, LatencyModel
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.plans import BatchPlan, EngineLimits, IterationResult
from tierline.scheduling.slots import Phase, SlotTable
from tierline.scheduling.speculation.acceptance import Acceptance, AcceptanceSnapshot
from tierline.scheduling.speculation.draft_length import draft_lengths, within, within_budgets
from tierline.scheduling.speculation.switch import SpeculationSwitch, SwitchState

EXPLORED_SHARE = 0.01
SAVED_ITERATIONS = 64
LONGEST_WAIT = 64
_FREE_TOKEN_MS = 1e-6


@dataclass(frozen=True, slots=True)
class DraftingSnapshot:
    """What drafting has learned; per slot how many iterations it has not drafted and how many it waits at the least."""

    acceptance: AcceptanceSnapshot
    switch: SwitchState
    idle: tuple[int, ...]
    wait: tuple[int, ...]
    saved_ms: float


class Drafting:
    """Chooses drafts for decoding rows and learns from what became of them."""

    def __init__(self, limits: EngineLimits, slots: SlotTable, memory: MemoryManager, latency: LatencyModel) -> None:
        self._limits = limits
        self._slots = slots
        self._memory = memory
        self._latency = latency
        self.acceptance = Acceptance(limits.max_running_requests)
        self.switch = SpeculationSwitch()
        self._idle = np.zeros(limits.max_running_requests, np.int64)
        self._wait = np.ones(limits.max_running_requests, np.int64)
        self._saved_ms: float | None = None

    def start(self, slot: int) -> None:
        """Begin with a new request in `slot`."""
        self.acceptance.start(slot)
        self._idle[slot], self._wait[slot] = 0, 1

    def choose(self, decodes: NDArray[np.int64], tokens_left: int, turns: int) -> tuple[NDArray[np.int64], int]:
        """Return the drafts of each of `decodes` before they are advanced, and the epoch of the switch (0: none)."""
        longest = self._longest(decodes)
        if not longest.any():
            return longest, 0
        rates = self.acceptance.rates(decodes)
        base_ms, token_ms = self._times(decodes)
        sure = np.where(self.acceptance.stable(decodes), longest, 0)
        lengths = draft_lengths(rates, sure, base_ms, token_ms, turns)
        budgets = self._slots.tpot_ms[decodes] / (1 + self._latency.margin)
        lengths = within_budgets(lengths, rates, budgets, base_ms, token_ms)
        allowed, epoch = self.switch.plan() if lengths.any() else (False, 0)
        if not allowed:
            lengths = np.zeros_like(lengths)
        lengths = self._explore(decodes, lengths, longest, base_ms, token_ms)
        lengths = within(lengths, rates, self._token_room(tokens_left))
        return self._within_blocks(decodes, lengths), epoch

    def reserve(self, decodes: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Give rows the blocks that their drafts reach into; returns the changes of the block table."""
        missing = self._missing_blocks(decodes, lengths)
        needy = np.flatnonzero(missing > 0).tolist()
        return [self._memory.append(int(decodes[row]), int(missing[row])) for row in needy]

    def accept(
        self, plan: BatchPlan, result: IterationResult, delivered: NDArray[np.intp], counters: EngineCounters
    ) -> None:
        """Advance the requests whose rows verified drafts by what was accepted; `delivered` are rows that count."""
        if not len(plan.drafts):
            return
        slots = self._slots
        slots.drafting[plan.slots[plan.drafts > 0]] = 0
        rows = delivered[plan.drafts[delivered] > 0]
        drafted, accepted = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        if len(result.drafted):
            drafted[:], accepted[:] = result.drafted[rows], result.sampled[rows] - 1
        assert bool(((accepted >= 0) & (accepted <= drafted) & (drafted <= plan.drafts[rows])).all())
        verified = plan.slots[rows].astype(np.int64)
        running = slots.phase[verified] == Phase.RUNNING
        slots.known[verified] += accepted
        slots.confirmed[verified] += accepted
        slots.computed[verified[running]] += accepted[running]
        self._give_back(verified[running], plan.iteration)
        counters.drafted_tokens += int(drafted.sum())
        counters.accepted_tokens += int(accepted.sum())
        counters.verified_rows += int(np.count_nonzero(drafted))
        # What a stop token cut off was not judged.
        going = ~result.stopped[rows]
        self._learn(verified[going], drafted[going], accepted[going])

    def _learn(self, slots: NDArray[np.int64], drafted: NDArray[np.int64], accepted: NDArray[np.int64]) -> None:
        self._wait[slots] = np.where(accepted > 0, 1, np.minimum(2 * self._wait[slots], LONGEST_WAIT))
        verified = drafted > 0
        if verified.any():
            self.acceptance.observe(slots[verified], drafted[verified], accepted[verified])

    def _give_back(self, slots: NDArray[np.int64], iteration: int) -> None:
        """Take back blocks of running rows that only rejected drafts reached into; `iteration` is committed."""
        needed = self._slots.computed[slots] // self._limits.block_tokens + 1
        for slot, keep in zip(slots.tolist(), needed.tolist(), strict=True):
            if unneeded := max(int(self._memory.owned[slot]) - keep, 0):
                self._memory.release_tail(slot, unneeded, iteration)

    def snapshot(self) -> DraftingSnapshot:
        """Return the state as plain values."""
        idle, wait = tuple(self._idle.tolist()), tuple(self._wait.tolist())
        saved_ms = -1.0 if self._saved_ms is None else self._saved_ms
        return DraftingSnapshot(self.acceptance.snapshot(), self.switch.state, idle, wait, saved_ms)

    def restore(self, snapshot: DraftingSnapshot) -> None:
        """Take over a snapshot of an engine of the same size."""
        self.acceptance.restore(snapshot.acceptance)
        self.switch.state = snapshot.switch
        self._idle[:], self._wait[:] = snapshot.idle, snapshot.wait
        self._saved_ms = None if snapshot.saved_ms < 0 else snapshot.saved_ms

    def _longest(self, decodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the longest draft of each row: the row gives one token more than it drafts, at most what is asked."""
        left = self._slots.max_total[decodes] - self._slots.known[decodes] - 1
        return np.where(self._slots.speculate[decodes], np.minimum(left, self._limits.max_draft_tokens), 0)

    def _times(self, decodes: NDArray[np.int64]) -> tuple[float, float]:
        """Return milliseconds of an iteration of plain decodes, and of one draft token more."""
        rows = float(len(decodes))
        coefficients = self._latency.coefficients
        plain = BatchFeatures(0.0, 0.0, rows, float(self._slots.computed[decodes].sum()) + rows)
        token_ms = coefficients.verified_token_ms + coefficients.drafted_token_ms
        return max(coefficients.predict_ms(plain), _FREE_TOKEN_MS), max(token_ms, _FREE_TOKEN_MS)

    def _explore(
        self,
        decodes: NDArray[np.int64],
        lengths: NDArray[np.int64],
        longest: NDArray[np.int64],
        base_ms: float,
        token_ms: float,
    ) -> NDArray[np.int64]:
        most_ms = EXPLORED_SHARE * SAVED_ITERATIONS * base_ms
        saved_ms = most_ms if self._saved_ms is None else min(self._saved_ms + EXPLORED_SHARE * base_ms, most_ms)
        due = (lengths == 0) & (longest > 0) & (self._idle[decodes] >= self._wait[decodes])
        candidates = np.flatnonzero(due)
        order = np.argsort(-self._idle[decodes[candidates]], kind="stable")
        explored = candidates[order][: int(min(saved_ms / token_ms, len(candidates)))]
        self._saved_ms = saved_ms - len(explored) * token_ms
        lengths = lengths.copy()
        lengths[explored] = 1
        self._idle[decodes] += 1
        self._idle[decodes[lengths > 0]] = 0
        return lengths

    def _token_room(self, tokens_left: int) -> int:
        slots = self._slots
        prompts = (slots.phase == Phase.RUNNING) & (slots.known - slots.computed > 1)
        return tokens_left // 2 if (prompts | self._waiting()).any() else tokens_left

    def _waiting(self) -> NDArray[np.bool_]:
        phase = self._slots.phase
        mask: NDArray[np.bool_] = (phase == Phase.WAITING) | (phase == Phase.PARKED)
        return mask

    def _missing_blocks(self, decodes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many more blocks each row needs for its drafts, below 0 where it has too many."""
        last = self._slots.computed[decodes] + lengths
        missing: NDArray[np.int64] = last // self._limits.block_tokens + 1 - self._memory.owned[decodes]
        return missing

    def _within_blocks(self, decodes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cut drafts to their rows' own blocks where the pool has none beyond what waiting contexts need."""
        missing = np.maximum(self._missing_blocks(decodes, lengths), 0)
        if not missing.any():
            return lengths
        promised = int((-(-self._slots.known[self._waiting()] // self._limits.block_tokens)).sum())
        served = np.cumsum(missing) <= self._memory.free - promised
        own = self._memory.owned[decodes] * self._limits.block_tokens - self._slots.computed[decodes] - 1
        return np.where(served | (missing == 0), lengths, np.minimum(lengths, own))


def with_drafts(plan: BatchPlan, drafts: NDArray[np.int64]) -> BatchPlan:
    """Return `plan` with `drafts` for its decodes; rows that verify some follow those that decode one token."""
    order = np.concatenate((np.argsort(drafts > 0, kind="stable"), np.arange(plan.decodes, len(plan.slots))))
    ordered = np.concatenate((drafts, np.zeros(len(plan.slots) - plan.decodes, np.int64)))[order].astype(np.int32)
    return replace(
        plan,
        slots=plan.slots[order],
        starts=plan.starts[order],
        counts=plan.counts[order] + ordered,
        samples=plan.samples[order],
        decodes=int(np.count_nonzero(drafts == 0)),
        drafts=ordered,
    )
