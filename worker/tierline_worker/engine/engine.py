"""The engine: owns the scheduling core and the executor, turns messages and iterations into frames.

It has no thread, socket or clock of its own (`EngineLoop` gives it those), so tests drive it step by step.

A step plans as far ahead as the executor goes, waits for the oldest iteration and delivers its tokens. With a device
that computes by itself one iteration is planned and launched while the one before it is computed (see `flights`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tierline.scheduling.batching.features import batch_features
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.memory.prefix_keys import KeySpace
from tierline.scheduling.plans import BatchPlan, Committed
from tierline.wire.frames import PROTOCOL_VERSION, Draining, Iteration, Refusal, TokenBatch, Welcome
from tierline.wire.states import FinishReason
from tierline_worker.adapters.catalog import AdapterCatalog
from tierline_worker.engine.delivery import Delivery
from tierline_worker.engine.flights import Executes, Flights, Landed
from tierline_worker.engine.health import Progress
from tierline_worker.engine.intake import Intake
from tierline_worker.engine.ledger import CreditLedger
from tierline_worker.engine.messages import (
    AdapterOffered,
    AdaptersAsked,
    AdapterWithdrawn,
    Cancelled,
    Demanded,
    DrainRequested,
    GatewayJoined,
    GatewayLeft,
    Message,
    Outgoing,
    Submitted,
)
from tierline_worker.engine.requests import LiveRequest, Roster
from tierline_worker.engine.snapshot import Snapshot, adapter_standings, take_load
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.slots import SlotLoad
from tierline_worker.tiers.tiers import KVTiers

_LOG = logging.getLogger(__name__)
TRANSFER_PATIENCE_S = 0.01


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this worker is, for its welcomes."""

    worker_id: str
    model: str
    vocab_size: int


class Engine:
    """One model's requests. `new_core` makes the scheduling core, again after an error inside it; `keys` name the
    blocks of contexts, None: nothing is cached."""

    def __init__(
        self,
        *,
        identity: Identity,
        new_core: Callable[[], SchedulerCore],
        executor: Executes,
        metrics: WorkerMetrics,
        progress: Progress,
        clock: Callable[[], float],
        adapters: AdapterCatalog | None = None,
        keys: KeySpace | None = None,
        tiers: KVTiers | None = None,
    ) -> None:
        self.snapshot = Snapshot()
        self._identity = identity
        self._new_core = new_core
        self._core = new_core()
        self._adapters = adapters or AdapterCatalog()
        self._adapters.register_all(self._core)
        self._executor = executor
        self._flights = Flights(executor, clock)
        self._metrics = metrics
        self._progress = progress
        self._clock = clock
        self._tiers = tiers
        self._roster = Roster()
        self._ledger = CreditLedger(self._core.limits.blocks_per_request)
        self._intake = Intake(identity.vocab_size, self._roster, self._ledger, metrics, self._adapters, keys=keys)
        self._draining: Draining | None = None
        self.publish({})

    @property
    def busy(self) -> bool:
        """True while a request is here, or an iteration that its last one left behind is still computed."""
        return bool(self._roster.by_key) or len(self._flights) > 0

    @property
    def drained(self) -> bool:
        return self._draining is not None and not self.busy

    def handle(self, message: Message) -> list[Outgoing]:
        """Apply one message and return the answers to it; to be stuck in it counts as a stall, like in an iteration."""
        self._progress.working(self._clock())
        try:
            return self._apply(message)
        finally:
            if not self.busy:
                self._progress.idle()

    def give_up(self) -> None:
        """Count as stalled from now on: what drove this engine has ended."""
        self._progress.died()

    def _apply(self, message: Message) -> list[Outgoing]:
        match message:
            case GatewayJoined(gateway):
                return self._join(gateway)
            case GatewayLeft(gateway):
                self._ledger.close(gateway)
                self._drop(self._roster.of_gateway(gateway))
            case Submitted(gateway, frame):
                return self._intake.take(self._core, gateway, frame, self._clock())
            case Demanded(gateway, frame):
                self._ledger.demand(gateway, frame)
            case Cancelled(gateway, frame):
                self._drop(self._roster.of_epoch(gateway, frame.request_id, frame.epoch))
            case AdapterOffered(name, adapter, replace, reply):
                reply(self._adapters.add(self._core, name, adapter, replace))
            case AdapterWithdrawn(name, reply):
                reply(self._adapters.remove(self._core, name))
            case AdaptersAsked(reply):
                reply(adapter_standings(self._adapters, self._core))
            case DrainRequested(deadline_ms, reason):
                return self._drain(Draining(deadline_ms, reason))
        return []

    def step(self) -> list[Outgoing]:
        """Run one iteration and return its frames; an error in here fails the requests, never the engine."""
        self._progress.working(self._clock())
        try:
            delivery = self._iterate()
        except Exception as error:  # noqa: BLE001 whatever breaks must not end the engine
            _LOG.exception("an iteration broke, all its requests fail")
            self._progress.failed(self._clock())
            delivery = self._start_over(error)
        if not self.busy:
            self._progress.idle()
        return self.publish(delivery.batches)

    def publish(self, batches: dict[int, list[TokenBatch]]) -> list[Outgoing]:
        """Return a frame for each gateway that has new tokens or new credits, and renew the snapshot."""
        core = self._core
        self.snapshot = take_load(core)
        frames = []
        adapters = self._adapters.news(core)
        free, now_s = (core.headroom.grantable_requests, core.headroom.free_blocks), self._clock()
        for gateway in self._ledger:
            granted, changed = self._ledger.grant(gateway, *free, now_s)
            tokens = tuple(batches.get(gateway, ()))
            if changed or tokens or adapters is not None:
                frame = Iteration(core.iteration, self.snapshot.signals, granted, tokens, adapters)
                frames.append(Outgoing(gateway, frame))
        return frames

    def _iterate(self) -> Delivery:
        self._hear_transfers(0.0)
        self._launch()
        if not len(self._flights):
            # All that is here waits for its KV; messages are looked at in between.
            self._hear_transfers(TRANSFER_PATIENCE_S)
            return Delivery(self._roster, self._metrics, self._clock())
        landed = self._flights.land()
        plan, now_s = landed.plan, self._clock()
        delivery = Delivery(self._roster, self._metrics, now_s)
        self._fail_rows(landed, delivery)
        committed = self._core.commit(landed.result)
        self._tell_shortage(landed)
        self._deliver(landed, committed, delivery)
        if len(plan.slots):
            self._measure(landed)
            (self._progress.failed if len(landed.errors) == len(plan.slots) else self._progress.finished)(now_s)
        return delivery

    def _hear_transfers(self, patience_s: float) -> None:
        if self._tiers is not None:
            for result in self._tiers.wait(patience_s):
                self._core.transferred(result)

    def _launch(self) -> None:
        """Plan and launch until the executor has enough; with nothing in flight there is always something to plan."""
        while not self._flights.full:
            plan = self._core.plan(self._clock() * 1e3)
            if plan is not None:
                self._flights.add(plan, self._loads(plan))
            elif len(self._flights) or self._core.awaiting_transfers:
                return
            else:
                raise RuntimeError("the scheduling core planned nothing for the requests it holds")

    def _loads(self, plan: BatchPlan) -> list[SlotLoad]:
        loads = []
        for admitted in plan.admitted:
            request = self._roster.by_key[admitted.request_id]
            self._roster.by_slot[admitted.slot] = request
            request.scheduled_at = self._clock()
            loads.append(
                SlotLoad(
                    admitted.slot,
                    request.token_ids,
                    request.sampling,
                    request.adapter,
                    emitted_tokens=request.emitted_tokens,
                )
            )
        return loads

    def _fail_rows(self, landed: Landed, delivery: Delivery) -> None:
        for row, error in landed.errors.items():
            request = self._roster.by_slot[int(landed.plan.slots[row])]
            # One that ended before was in the iteration planned ahead as well.
            if self._roster.by_key.get(request.key) is not request:
                continue
            _LOG.error("request %s failed: %r", request.request_id, error)
            self._executor.clear(self._core.discard(request.key))
            delivery.fail(request, error)

    def _deliver(self, landed: Landed, committed: Committed, delivery: Delivery) -> None:
        ended = {finished.request_id: finished.reason for finished in committed.finished}
        for row in committed.delivered:
            request = self._roster.by_slot[int(landed.plan.slots[row])]
            told = landed.sampled.logprobs.get(row, ())
            token_ids = landed.sampled.given(row)
            delivery.tokens(request, token_ids, ended.get(request.key, ""), told)
            self._name_blocks(request, token_ids)

    def _name_blocks(self, request: LiveRequest, token_ids: Sequence[int]) -> None:
        if request.names is not None:
            for index, key in request.names.extend(token_ids):
                self._core.name_block(request.key, index, key)

    def _tell_shortage(self, landed: Landed) -> None:
        if landed.out_of_memory:
            tokens, limit = landed.plan.tokens, self._core.token_limit.tokens
            _LOG.warning(
                "%d tokens at once are too much for the memory: computed in parts, now at most %d", tokens, limit
            )
            self._metrics.ran_out_of_memory(len(landed.errors))

    def _measure(self, landed: Landed) -> None:
        self._metrics.iterated(landed.plan.tokens, batch_features(landed.plan), landed.elapsed_s)

    def _start_over(self, error: Exception) -> Delivery:
        """Fail every request and begin with an empty core: after an error inside it its state cannot be trusted."""
        delivery = Delivery(self._roster, self._metrics, self._clock())
        for request in list(self._roster.by_key.values()):
            delivery.fail(request, error)
        self._flights.abandon()
        if self._tiers is not None:
            self._tiers.settle()
        self._core = self._new_core()
        self._adapters.register_all(self._core)
        if self._draining is not None:
            self._core.drain()
        return delivery

    def _join(self, gateway: int) -> list[Outgoing]:
        if self._draining is not None:
            return [Outgoing(gateway, Refusal("the worker drains, use another one"))]
        self._ledger.open(gateway)
        headroom = self._core.headroom
        granted, _ = self._ledger.grant(gateway, headroom.grantable_requests, headroom.free_blocks, self._clock())
        limits = self._core.limits
        welcome = Welcome(
            version=PROTOCOL_VERSION,
            worker_id=self._identity.worker_id,
            model=self._identity.model,
            block_tokens=limits.block_tokens,
            total_blocks=limits.total_blocks,
            max_model_tokens=limits.max_model_tokens,
            credits=granted,
            adapters=self._adapters.states(self._core),
        )
        first = Iteration(self._core.iteration, self._core.signals(), granted)
        return [Outgoing(gateway, welcome), Outgoing(gateway, first)]

    def _drain(self, draining: Draining) -> list[Outgoing]:
        self._draining = draining
        self._core.drain()
        return [Outgoing(gateway, draining) for gateway in self._ledger]

    def _drop(self, requests: list[LiveRequest]) -> None:
        for request in requests:
            self._core.cancel(request.key)
            self._metrics.cancelled()
            _LOG.info("request %s ended: %s", request.request_id, FinishReason.CANCELLED)
        self._roster.remove(requests)
        if not self.busy:
            self._progress.idle()
