"""What the next iteration computes: one token budget, decodes first, then begun prompts, then new ones.

Stall-free batching after Sarathi-Serve (Agrawal et al., OSDI 2024): a decode is never delayed by a prompt. Its static
budget is replaced by the latency model: chunks are as long as the tightest time-per-token budget of the batch allows,
and where decodes alone would break it, those of looser budgets take turns (`pacing`).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.batch import Batch
from tierline.scheduling.batching.modes import continuous, discrete, slices
from tierline.scheduling.batching.pacing import paced
from tierline.scheduling.batching.shedding import TokenLimit
from tierline.scheduling.latency import BatchFeatures, LatencyModel
from tierline.scheduling.memory.adapter_room import AdapterRoom
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.preemption import Preemptor
from tierline.scheduling.memory.reuse import Found, PrefixReuse
from tierline.scheduling.plans import Admitted, EngineLimits
from tierline.scheduling.slots import Phase, SlotTable
from tierline.scheduling.speculation.drafting import Drafting

BYPASS_LIMIT = 64
"""So many admissions may pass a waiting request whose blocks are not there; then blocks are kept for it."""

LONG_PROMPT_SHARE = 0.5
"""So much of a batch a prompt takes that will not finish in it while others wait behind."""

LEAST_CHUNK_DEPTH_TOKENS = 512
"""Behind more than these the least chunk has as many pairs of query and key as a block's worth behind these."""

INFEASIBLE_STRETCH = 1.25
"""So far prompts may lengthen an iteration whose decodes alone break the tightest budget."""


class BatchPlanner:
    """Composes batches from the slots; moves requests between WAITING, RUNNING and PARKED and gives them blocks."""

    def __init__(
        self,
        limits: EngineLimits,
        slots: SlotTable,
        memory: MemoryManager,
        preemptor: Preemptor,
        latency: LatencyModel,
        *,
        adapters: AdapterRoom,
        reuse: PrefixReuse,
        drafting: Drafting | None = None,
    ) -> None:
        self._adapters = adapters
        self._limits = limits
        self._slots = slots
        self._memory = memory
        self._preemptor = preemptor
        self._parking = preemptor.parking
        self._latency = latency
        self._reuse = reuse
        self.token_limit = TokenLimit(limits)
        self._drafting = drafting
        self._steady: tuple[int, NDArray[np.int64], int] = (-1, np.empty(0, np.int64), 0)

    def compose(self, iteration: int) -> Batch:
        """Return the batch of `iteration`; it may be empty while blocks cool or saved KV is loaded."""
        self._preemptor.relieve()
        discrete.open_batches(self._slots, self._memory.total - self._memory.pages)
        batch = self._decodes(iteration)
        slots = self._slots
        if batch.tokens_left and len(batch.decodes) < len(slots.slot_of):
            batch.chunk_budget_ms = self._chunk_budget_ms(batch)
            self._prompts(batch)
        slots.all_decode = len(batch.decodes) + len(batch.chunks) - batch.partial == len(slots.slot_of)
        return batch

    def _decodes(self, iteration: int) -> Batch:
        slots = self._slots
        ready = self._ready()
        prompts = len(ready) < len(slots.slot_of)
        turn = paced(slots, ready, self._latency, iteration, prompts=prompts)
        decodes, updates = self._grow(turn)
        if not len(decodes) and len(turn) < len(ready):
            # Who has the turn finds no block, and nobody below it to yield one; others may.
            decodes, updates = self._grow(ready[slots.phase[ready] == Phase.RUNNING])
        starts = slots.computed[decodes]
        batch = Batch(iteration, decodes, starts, self.token_limit.tokens - len(decodes), 0.0, updates=updates)
        if self._drafting is not None:
            self._draft(batch, self._drafting)
        slots.computed[decodes] = starts + 1
        slots.known[decodes] += 1
        slots.last_planned[decodes] = iteration
        return batch

    def _ready(self) -> NDArray[np.int64]:
        """Return the slots that decode: the same as last time while nobody came, left, yielded or is at the end."""
        slots = self._slots
        changes, rows, turns = self._steady
        if changes == slots.changes and turns > 0:
            self._steady = (changes, rows, turns - 1)
            return rows
        ready = (slots.phase == Phase.RUNNING) & (slots.known - slots.computed == 1) & (slots.known < slots.max_total)
        if self._drafting is not None:
            ready &= slots.drafting == 0
        rows = np.asarray(ready.nonzero()[0], np.int64)
        if len(rows) and len(rows) == len(slots.slot_of) and self._drafting is None:
            turns = int(np.minimum.reduce((slots.max_total - slots.known)[rows])) - 1
            self._steady = (slots.changes, rows, turns)
        return rows

    def _draft(self, batch: Batch, drafting: Drafting) -> None:
        # With a plan in flight, a row with drafts is left out of the next one.
        turns = batch.iteration - self._memory.committed_iteration
        drafts, batch.epoch = drafting.choose(batch.decodes, batch.tokens_left, turns)
        if drafts.any():
            batch.drafts = drafts
            batch.tokens_left -= int(drafts.sum())
            batch.updates += drafting.reserve(batch.decodes, drafts)
            self._slots.drafting[batch.decodes] = drafts

    def _grow(self, decodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
        """Give a block to each decode that begins one; returns the decodes that can go on and the table's changes."""
        slots, memory = self._slots, self._memory
        starved = decodes[memory.owned[decodes] * self._limits.block_tokens <= slots.computed[decodes]]
        if not len(starved):
            return decodes, []
        fed, lacking = starved, len(starved) - memory.free
        if lacking > 0:
            self._adapters.spare(lacking)
        if lacking > 0 and len(starved) > memory.free:
            fed = self._preemptor.make_room(starved)
            going = (slots.phase[decodes] == Phase.RUNNING) & ~np.isin(decodes, np.setdiff1d(starved, fed))
            decodes = decodes[going]
        return decodes, [memory.append_one_each(fed)]

    def _chunk_budget_ms(self, batch: Batch) -> float:
        tightest_ms = float(np.minimum.reduce(self._slots.tpot_ms[batch.decodes], initial=np.inf))
        if tightest_ms == np.inf:
            return tightest_ms
        decodes, drafts = len(batch.decodes), int(batch.drafts.sum()) if len(batch.drafts) else 0
        kv_read_tokens = float(np.add.reduce(batch.decode_starts)) + decodes
        alone = BatchFeatures(0.0, 0.0, float(decodes), kv_read_tokens, drafts, drafts)
        alone_ms = self._latency.coefficients.predict_ms(alone)
        return max(tightest_ms / (1 + self._latency.chunk_margin), alone_ms * INFEASIBLE_STRETCH) - alone_ms

    def _prompts(self, batch: Batch) -> None:
        skipped: list[int] = []
        promised = 0
        order = self._prompts_in_order()
        for place, (slot, running) in enumerate(order, 1):
            if not running and self._reuse.awaits(slot):
                continue
            found = None if running else self._reuse.find(slot)
            start = found.tokens if found else int(self._slots.computed[slot])
            count = self._chunk_tokens(batch, slot, start, others=place < len(order))
            if not count:
                break
            if found is None:
                self._continue(batch, slot, count)
                continue
            unfinished = count < self._slots.known[slot] - start and not self._parking.can_load(slot, found)
            if unfinished and batch.partial >= self._limits.max_partial_prefills:
                continue
            found, fits = self._fitting(batch, slot, found, promised)
            if fits:
                self._start(batch, slot, found, count)
                self._slots.bypassed[skipped] += 1
                continue
            if self._adapters.residency.place_is_there(slot):
                promised += self._promise(slot, found)
                batch.kept_places += self._adapters.residency.missing_pages(slot) > 0
            skipped.append(slot)
            if self._slots.bypassed[slot] >= BYPASS_LIMIT:
                break
        self._top_up(batch)

    def _prompts_in_order(self) -> list[tuple[int, bool]]:
        """Prompts with whether they run: by priority, then begun ones, then by deadline, then first come.

        At one moment deadlines order as slacks do. A parked request waits until its last row is committed, so that
        its new blocks cannot mix with what is in flight, and until what it lost is saved.
        """
        slots = self._slots
        running = (slots.phase == Phase.RUNNING) & (slots.known - slots.computed > 1)
        resumable = (slots.phase == Phase.PARKED) & (slots.last_planned <= self._memory.committed_iteration)
        if self._parking.saved.waiting_slots:
            resumable[list(self._parking.saved.waiting_slots)] = False
        joining = (resumable | (slots.phase == Phase.WAITING)).nonzero()[0]
        if slots.in_batches:
            may_join = [mode.may_join(slots, joining) for mode in (continuous, discrete, slices)]
            joining = joining[np.logical_or.reduce(may_join)]
        candidates = np.concatenate((running.nonzero()[0], joining))
        if len(candidates) <= 1:
            return [(int(slot), bool(running[slot])) for slot in candidates]
        keys = (slots.arrival, slots.deadline_ms, ~running, -slots.priority)
        ordered = candidates[np.lexsort(tuple(key[candidates] for key in keys))]
        return list(zip(ordered.tolist(), running[ordered].tolist(), strict=True))

    def _continue(self, batch: Batch, slot: int, count: int) -> None:
        # A higher priority may have parked it since the order was made.
        if self._slots.phase[slot] == Phase.RUNNING:
            self._add_chunk(batch, slot, count)

    def _fitting(self, batch: Batch, slot: int, found: Found, promised: int) -> tuple[Found, bool]:
        """Return what `slot` can start from, and whether it can; who must yield for it and can at once does so."""
        guaranteed, found = self._after(slot, found, lambda: self._adapters.guarantees(slot, batch.kept_places))
        needed = self._needed_blocks(slot, found) + promised
        if guaranteed and needed > self._memory.free:
            _, found = self._after(slot, found, lambda: self._adapters.claim(slot, needed))
            needed = self._needed_blocks(slot, found) + promised
        return found, guaranteed and needed <= self._memory.free

    def _after(self, slot: int, found: Found, claim: Callable[[], bool | None]) -> tuple[bool, Found]:
        """Return what `claim` says, and what of `found` is there after it: who yielded may have had it."""
        releases, answer = self._memory.releases, bool(claim())
        return answer, found if self._memory.releases == releases else self._reuse.find(slot)

    def _promise(self, slot: int, found: Found) -> int:
        """Return how many blocks later candidates must leave to `slot`: all it needs, once enough are cooling."""
        needed = self._needed_blocks(slot, found)
        return needed if needed <= self._memory.free + self._memory.cooling else 0

    def _needed_blocks(self, slot: int, found: Found) -> int:
        """Blocks of the whole context and of an adapter to be loaded, and some air for those who run, else an admission
        ends in a preemption."""
        pages = self._adapters.residency.missing_pages(slot)
        return self._reuse.missing_blocks(slot, found) + pages + self._preemptor.air(slot)

    def _start(self, batch: Batch, slot: int, found: Found, count: int) -> None:
        """Give `slot` its blocks; it is computed now, or first loaded where saved KV of it is worth that."""
        loads = self._parking.can_load(slot, found)
        # What was found comes first: while nobody refers to it, an adapter's pages could be made of it.
        updates, copies = self._reuse.take(slot, found)
        batch.updates += updates
        batch.copies += copies
        if (adapter := self._adapters.residency.load(slot, batch.iteration)) is not None:
            batch.adapters.append(adapter)
        for source, _ in copies:
            self._memory.read_by(source, batch.iteration)
        self._slots.bypassed[slot] = 0
        if loads:
            self._parking.load(slot)
        else:
            self._admit(batch, slot, min(count, int(self._slots.known[slot]) - found.tokens))

    def _admit(self, batch: Batch, slot: int, count: int) -> None:
        slots = self._slots
        slots.phase[slot] = Phase.RUNNING
        self._parking.started(slot)
        if not slots.announced[slot]:
            slots.announced[slot] = True
            batch.admitted.append(Admitted(slots.request(slot).request_id, slot))
        self._add_chunk(batch, slot, count)

    def _chunk_tokens(self, batch: Batch, slot: int, start: int, others: bool) -> int:
        """Return how many tokens of `slot` from `start` this batch takes; its first prompt gets `_least_tokens` in
        any case.

        A prompt that will not finish leaves a share of the batch to `others` behind it, which may be short.
        """
        floor = 0 if batch.chunks else self._least_tokens(start)
        allowed = max(self._latency.coefficients.chunk_tokens(batch.chunk_budget_ms, start), floor)
        left = int(self._slots.known[slot]) - start
        count = min(left, batch.tokens_left, allowed)
        return max(int(count * LONG_PROMPT_SHARE), min(count, floor)) if count < left and others else count

    def _least_tokens(self, start: int) -> int:
        """A block's worth, whatever the latency model says: a model that is wrong learns nothing from single tokens.
        Behind a deep context fewer, as attention alone would break budgets that can be kept: 16 tokens behind 7,000
        take a tenth of a second on a core that computes 80 GFLOP/s.
        """
        block = self._limits.block_tokens
        return max(min(block, block * LEAST_CHUNK_DEPTH_TOKENS // max(start, 1)), 1)

    def _top_up(self, batch: Batch) -> None:
        """Give what nobody else could use to the first prompt that is still unfinished."""
        for index, (slot, start, count, complete) in enumerate(batch.chunks):
            if complete:
                continue
            allowed = self._latency.coefficients.chunk_tokens(batch.chunk_budget_ms, end := start + count)
            if extra := min(int(self._slots.known[slot]) - end, batch.tokens_left, allowed):
                del batch.chunks[index]
                batch.partial -= 1
                self._slots.computed[slot] = start
                batch.tokens_left += count
                batch.chunk_budget_ms += self._latency.coefficients.chunk_ms(count, start)
                self._add_chunk(batch, slot, count + extra)
            return

    def _add_chunk(self, batch: Batch, slot: int, count: int) -> None:
        slots, start = self._slots, int(self._slots.computed[slot])
        complete = start + count == slots.known[slot]
        batch.partial += not complete
        batch.chunks.append((slot, start, count, bool(complete)))
        batch.tokens_left -= count
        batch.chunk_budget_ms -= self._latency.coefficients.chunk_ms(count, start)
        slots.computed[slot] += count
        slots.known[slot] += complete
        slots.last_planned[slot] = batch.iteration
