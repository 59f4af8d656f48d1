"""The worker's scheduling core: requests in, batch plans out, results back in.

It does no I/O and knows no token values. `plan` may be called one step ahead, with one iteration in flight, so that
the device never waits for planning; what an iteration in flight still computes on is not given to others before it is
committed.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.batch import Batch, DecodeColumns, InFlight
from tierline.scheduling.batching.features import batch_features
from tierline.scheduling.batching.headroom import Headroom
from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.batching.request_check import check_request
from tierline.scheduling.batching.shedding import TokenLimit
from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.memory.adapter_room import AdapterRoom
from tierline.scheduling.memory.adapters import AdapterResidency
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.offload import OffloadModel
from tierline.scheduling.memory.parking import Parking
from tierline.scheduling.memory.preemption import Preemptor
from tierline.scheduling.memory.reuse import PrefixReuse
from tierline.scheduling.memory.saved_context import SavedContexts
from tierline.scheduling.memory.table_rows import joined
from tierline.scheduling.memory.transfers import Direction, TransferResult
from tierline.scheduling.plans import (
    NO_COPIES,
    BatchPlan,
    Committed,
    EngineLimits,
    EngineRequest,
    Finished,
    IterationResult,
)
from tierline.scheduling.slots import Phase, SlotTable
from tierline.scheduling.speculation.drafting import Drafting, with_drafts
from tierline.wire.credits import blocks_for
from tierline.wire.frames import NackReason, Signals

MAX_IN_FLIGHT = 2
"""Plans that may await their result: the one on the device and the one made ahead of it."""


class SchedulerCore:
    """Schedules the requests of one engine."""

    def __init__(
        self,
        limits: EngineLimits,
        latency: LatencyModel,
        planner: type[BatchPlanner] = BatchPlanner,
        offload: OffloadModel | None = None,
    ) -> None:
        self.limits = limits
        self.latency = latency
        self.counters = EngineCounters()
        self.slots = SlotTable(limits)
        self.memory = MemoryManager(limits, self.counters)
        self.saved = SavedContexts(limits, offload or OffloadModel(), self.counters)
        self.parking = Parking(limits, self.slots, self.memory, latency, self.saved, counters=self.counters)
        self.preemptor = Preemptor(limits, self.slots, self.memory, self.parking)
        self.adapters = AdapterResidency(limits.max_adapters, self.slots, self.memory, self.counters)
        self.in_flight: deque[InFlight] = deque()
        self.iteration = 0
        self.drafting = Drafting(limits, self.slots, self.memory, latency) if limits.max_draft_tokens else None
        self.reuse = PrefixReuse(limits, self.slots, self.memory, self.counters)
        self._planner = planner(
            limits,
            self.slots,
            self.memory,
            self.preemptor,
            latency,
            adapters=AdapterRoom(self.adapters, self.memory, self.preemptor),
            reuse=self.reuse,
            drafting=self.drafting,
        )
        self._last_iteration_ms = 0.0
        self._columns = DecodeColumns(limits.max_running_requests)
        self.headroom = Headroom(limits, self.slots, self.memory, self.saved, self.adapters, preemptor=self.preemptor)

    def submit(self, request: EngineRequest) -> NackReason | None:
        """Take a request, or say why not. Raises `InvalidEngineRequest` when nothing could be computed for it.

        A request that could never run, because the model's window or the whole pool (its adapter's pages included) is
        too small, is `TooLong`.
        """
        check_request(request)
        if self.headroom.closed:
            return NackReason.DRAINING
        if request.request_id in self.slots.slot_of:
            return NackReason.DUPLICATE
        if request.adapter and not self.adapters.serves(request.adapter):
            return NackReason.UNKNOWN_ADAPTER
        if self._can_never_fit(request):
            return NackReason.TOO_LONG
        if not self.slots.free:
            return NackReason.NO_SLOT
        slot = self.slots.add(request)
        self.adapters.assign(slot, request.adapter)
        if self.drafting is not None:
            self.drafting.start(slot)
        self.headroom.feed.submitted(request.context_tokens - self.reuse.find(slot).tokens)
        return None

    def cancel(self, request_id: str) -> bool:
        """End a request without a result; False when it is not (or no longer) here. Its id is free at once."""
        slot = self.slots.slot_of.get(request_id)
        if slot is None:
            return False
        self._release(slot)
        return True

    def discard(self, request_id: str) -> NDArray[np.int32]:
        """End a request whose KV cannot be trusted, so that nobody finds it in the cache; returns the blocks that
        nobody else refers to. Others that share its blocks compute on the same KV and will find out themselves."""
        slot = self.slots.slot_of.get(request_id)
        if slot is None:
            return np.empty(0, np.int32)
        blocks = self.memory.forget(slot)
        self._release(slot)
        return blocks

    def name_block(self, request_id: str, index: int, key: bytes) -> None:
        """Learn the key of the next full block of a request, if it is here; `index` follows the last one known."""
        slot = self.slots.slot_of.get(request_id)
        if slot is not None:
            self.reuse.name_block(slot, index, key)

    def plan(self, now_ms: float) -> BatchPlan | None:
        """Return the next iteration's work, or None when nothing can run now.

        With no iteration in flight, a request here and no transfer awaited it is never None. A plan may hold transfers
        and no rows. `now_ms` is the clock of the requests' deadlines. Deadlines order at one moment as slacks do, so
        today's order does not depend on it.
        """
        assert len(self.in_flight) < MAX_IN_FLIGHT, "commit the oldest plan first"
        if not self.slots.slot_of:
            return None
        batch = self._planner.compose(self.iteration + 1)
        if batch.empty and not self.saved.untold:
            return None
        self.iteration += 1
        plan = self._plan_of(batch)
        features = batch_features(plan)
        if features.prefill_tokens:
            self.headroom.feed.planned(int(features.prefill_tokens), self.headroom.backlog_tokens)
        self.in_flight.append(InFlight(plan, features, batch.epoch))
        return plan

    def commit(self, result: IterationResult) -> Committed:
        """Take the result of the oldest plan in flight: learn its duration, end what ended, free what cooled."""
        flight = self.in_flight.popleft()
        plan = flight.plan
        assert result.iteration == plan.iteration, f"result of {result.iteration}, expected {plan.iteration}"
        if len(plan.slots):
            self._learn(flight, result)
            self._last_iteration_ms = result.elapsed_ms
            # How many they were matters only when they did not fit.
            self.token_limit.committed(plan.tokens if result.out_of_memory else 0, result.out_of_memory)
        # Indexing with the plan's 32 bits costs two to four times as much.
        rows = plan.slots.astype(np.intp)
        sampled = plan.samples & (self.slots.phase[rows] != Phase.ENDED) if self.slots.ended else plan.samples
        delivered = sampled.nonzero()[0]
        self.memory.committed(plan.iteration)
        if self.drafting is not None:
            self.drafting.accept(plan, result, delivered, self.counters)
        self.reuse.settle(plan, rows)
        if len(delivered) == len(rows):
            finished = self._deliver(rows, result.stopped)
        else:
            finished = self._deliver(rows[delivered], result.stopped[delivered])
        self._vacate(rows, plan.iteration)
        return Committed(tuple(delivered.tolist()), finished)

    def transferred(self, result: TransferResult) -> None:
        """Take in how a transfer of a plan ended, in any order; what failed was never saved or is computed again."""
        way = self.saved.ended(result)
        if way is None or way.transfer.direction is not Direction.LOAD or way.slot in self.saved.loading_slots:
            return
        if self.slots.phase[way.slot] == Phase.LOADING:
            self.parking.loaded(way.slot)
        else:
            self.memory.release(way.slot, int(self.slots.last_planned[way.slot]))
            self.slots.vacate(way.slot)

    @property
    def awaiting_transfers(self) -> bool:
        """True while the executor owes the end of a transfer."""
        return len(self.saved.under_way) > self.saved.untold

    def drain(self) -> None:
        """Refuse new requests from now on; those here run to their end."""
        self.headroom.close()

    @property
    def token_limit(self) -> TokenLimit:
        """What an iteration may compute; it is below the configured limit after one that did not fit."""
        return self._planner.token_limit

    @property
    def empty(self) -> bool:
        """True when no request is here and no iteration is in flight."""
        return not self.slots.slot_of and not self.in_flight

    def signals(self) -> Signals:
        """Return what the worker reports with each iteration."""
        running = int(np.count_nonzero(self.slots.phase == Phase.RUNNING))
        return Signals(
            running_requests=running,
            waiting_requests=len(self.slots.slot_of) - running,
            used_blocks=self.memory.used,
            total_blocks=self.memory.total,
            backlog_tokens=self.headroom.backlog_tokens,
            iteration_ms=self._last_iteration_ms,
            latency_coefficients=tuple(self.latency.coefficients),
            latency_residual_p95_ms=self.latency.residual_p95_ms,
            latency_samples=self.latency.samples,
            latency_margin=self.latency.margin,
            pace_budget_ms=self.headroom.pace_budget_ms,
            rooms=self.headroom.rooms,
        )

    def _can_never_fit(self, request: EngineRequest) -> bool:
        needed = blocks_for(request.max_total_tokens - 1, self.limits.block_tokens)
        needed += self.adapters.pages_of(request.adapter)
        return request.max_total_tokens > self.limits.max_model_tokens or needed > self.memory.total

    def _plan_of(self, batch: Batch) -> BatchPlan:
        decodes = len(batch.decodes)
        slots, counts, samples = self._columns.of(batch.decodes)
        starts = batch.decode_starts.astype(np.int32)
        if batch.chunks:
            chunks = np.array(batch.chunks, np.int32)
            slots, starts = np.concatenate((slots, chunks[:, 0])), np.concatenate((starts, chunks[:, 1]))
            counts, samples = np.concatenate((counts, chunks[:, 2])), np.concatenate((samples, chunks[:, 3] != 0))
        plan = BatchPlan(
            batch.iteration,
            slots,
            starts,
            counts,
            samples,
            joined([self.memory.take_updates(), *batch.updates]),
            decodes,
            tuple(batch.admitted),
            copies=np.array(batch.copies, np.int32) if batch.copies else NO_COPIES,
            adapters=tuple(batch.adapters),
            adapter_tokens=self.adapters.tokens_of(slots, counts),
            transfers=self.saved.take_transfers(batch.iteration),
        )
        return with_drafts(plan, batch.drafts) if len(batch.drafts) else plan

    def _learn(self, flight: InFlight, result: IterationResult) -> None:
        """Learn the duration of what was computed: the drafter may have proposed less than it was allowed."""
        features = flight.features
        if len(flight.plan.drafts):
            drafted = float(result.drafted.sum())
            features = features._replace(verified_tokens=drafted, drafted_tokens=drafted)
        self.latency.observe(features, result.elapsed_ms)
        if flight.epoch and self.drafting is not None:
            plain = features._replace(verified_tokens=0.0, drafted_tokens=0.0)
            tokens = int(result.sampled.sum()) if len(result.sampled) else len(flight.plan.slots)
            load_ms = self.latency.coefficients.predict_ms(plain)
            self.drafting.switch.commit(flight.epoch, tokens, result.elapsed_ms, plain.decodes, load_ms)

    def _deliver(self, slots: NDArray[np.intp], stopped: NDArray[np.bool_]) -> tuple[Finished, ...]:
        confirmed = self.slots.confirmed[slots] + 1
        self.slots.confirmed[slots] = confirmed
        complete = confirmed >= self.slots.max_total[slots]
        finished = []
        for index in (stopped | complete).nonzero()[0].tolist():
            slot = int(slots[index])
            request_id = self.slots.request(slot).request_id
            finished.append(Finished(request_id, slot, "stop" if stopped[index] else "length"))
            self._release(slot)
        return tuple(finished)

    def _release(self, slot: int) -> None:
        barrier = int(self.slots.last_planned[slot])
        if self.saved.leave(slot):
            # A load still writes its blocks; they and the slot come free when it has ended.
            self.slots.end(slot)
            self.adapters.released(slot)
            return
        self.memory.release(slot, barrier)
        self.slots.end(slot)
        self.adapters.released(slot)
        if not self.in_flight or barrier < self.in_flight[0].plan.iteration:
            self.slots.vacate(slot)

    def _vacate(self, rows: NDArray[np.intp], iteration: int) -> None:
        if not self.slots.ended:
            return
        ended = rows[self.slots.phase[rows] == Phase.ENDED]
        for slot in ended[self.slots.last_planned[ended] <= iteration].tolist():
            self.slots.vacate(slot)
