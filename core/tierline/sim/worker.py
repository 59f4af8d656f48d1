"""A worker on virtual time: the shipped core, credits as on the wire, a device that takes as long as the truth says."""

from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import BatchPlan, EngineLimits, EngineRequest, IterationResult
from tierline.scheduling.routing.choice import WorkerView
from tierline.sim.faults import Slowdown
from tierline.sim.noise import EXACT, Noise
from tierline.wire.credits import CreditAccount, CreditIssuer, submit_cost_blocks
from tierline.wire.frames import NackReason

STALE_MS: Final = 3000.0
"""After so long a silence the gateway does not believe a worker's last report."""


class NewTokens(msgspec.Struct, frozen=True):
    """One output token for each of `request_ids`; it is the last one of those in `ended`, which have that order, too.

    As long as the same requests go on together, `request_ids` is the same tuple.
    """

    request_ids: tuple[str, ...]
    ended: tuple[str, ...]


class _Running(msgspec.Struct, frozen=True):
    plan: BatchPlan
    elapsed_ms: float


class _Sampled(msgspec.Struct):
    """What a plan sampled; after so many `turns` more of the same rows the first of them ends."""

    slots: NDArray[np.int32]
    given: tuple[str, ...]
    stopped: NDArray[np.bool_]
    turns: int


class SimulatedWorker:
    """One worker with one gateway; an answer ends by itself, at a length that only the device knows.

    `begin` and `finish` bracket an iteration; between them the worker takes submits for the next one. What the gateway
    knows of it comes by `tell` and `view`; while `silent_since_ms` is set the first gives nothing, and the second is as
    old as that.
    """

    def __init__(
        self,
        name: str,
        limits: EngineLimits,
        truth: Coefficients,
        planner: type[BatchPlanner],
        *,
        slowdowns: tuple[Slowdown, ...] = (),
        noise: Noise = EXACT,
    ) -> None:
        self.name = name
        self.alive = True
        self.draining = False
        self.busy_ms = 0.0
        self.silent_since_ms: float | None = None
        self._slowdowns = slowdowns
        self._noise = noise
        self._untold: list[NewTokens] = []
        self.outstanding: set[str] = set()
        # By slot: how many tokens prompt and answer have when the answer ends.
        self._end_tokens: NDArray[np.int64] = np.zeros(limits.max_running_requests, np.int64)
        self._ids = [""] * limits.max_running_requests
        self._last = _Sampled(np.empty(0, np.int32), (), np.empty(0, np.bool_), 0)
        self._truth = truth
        self._core = SchedulerCore(limits, LatencyModel(truth), planner)
        self._account = CreditAccount()
        self._issuer = CreditIssuer()
        self._running: _Running | None = None
        self._view: WorkerView | None = None
        self._grant()

    @property
    def iterations(self) -> int:
        return self._core.iteration

    @property
    def preemptions(self) -> int:
        """How often a request had to yield its memory."""
        counters = self._core.counters
        return counters.preemptions_recompute + counters.preemptions_host + counters.preemptions_disk

    @property
    def window_tokens(self) -> int:
        limits = self._core.limits
        return min(limits.max_model_tokens, limits.total_blocks * limits.block_tokens)

    def view(self, now_ms: float) -> WorkerView:
        """Return what routing sees: credits and load as of the last iteration's report, less what was sent since."""
        if self._view is None:
            self._view = self._new_view()
        if self.silent_since_ms is None:
            return self._view
        return replace(
            self._view,
            credit_requests=self._account.requests,
            credit_blocks=self._account.blocks,
            outstanding_requests=len(self.outstanding) + sum(len(tokens.ended) for tokens in self._untold),
            stale=now_ms - self.silent_since_ms > STALE_MS,
        )

    def _new_view(self) -> WorkerView:
        core = self._core
        return WorkerView(
            name=self.name,
            accepting=self.alive and not self.draining,
            credit_requests=self._account.requests,
            credit_blocks=self._account.blocks,
            block_tokens=core.limits.block_tokens,
            max_model_tokens=core.limits.max_model_tokens,
            total_blocks=core.limits.total_blocks,
            outstanding_requests=len(self.outstanding),
            used_blocks=core.memory.used,
            backlog_tokens=core.headroom.backlog_tokens,
            latency=core.latency.coefficients,
            rooms=core.headroom.rooms,
            margin=core.latency.margin,
            pace_budget_ms=core.headroom.pace_budget_ms,
        )

    def submit(self, request: EngineRequest, missing_tokens: int) -> NackReason | None:
        """Start a request whose answer ends after `missing_tokens`, or say why not; credit is spent in either case."""
        cost = submit_cost_blocks(request.context_tokens, self._core.limits.block_tokens)
        self._forget_view()
        self._account.spend(cost)
        self._issuer.spend(cost)
        headroom = self._core.headroom
        if self.outstanding and headroom.free_blocks < cost and headroom.room(request.priority)[1] < cost:
            return NackReason.NO_BLOCKS
        reason = self._core.submit(request)
        if reason is None:
            self.outstanding.add(request.request_id)
            slot = self._core.slots.slot_of[request.request_id]
            self._end_tokens[slot] = request.context_tokens + missing_tokens
            self._ids[slot] = request.request_id
        return reason

    def begin(self, now_ms: float) -> float | None:
        """Start the next iteration if there is work and none runs; returns when it will end."""
        plan = self._core.plan(now_ms) if self._running is None and self.outstanding else None
        if plan is None:
            return None
        elapsed_ms = self._truth.predict_ms(self._core.in_flight[-1].features) * self._noise.factor()
        for slowdown in self._slowdowns:
            elapsed_ms *= slowdown.factor if slowdown.from_ms <= now_ms < slowdown.until_ms else 1.0
        self._running = _Running(plan, elapsed_ms)
        return now_ms + elapsed_ms

    def finish(self) -> None:
        """End the running iteration; `tell` gives its tokens."""
        running = self._running
        assert running is not None, "no iteration runs"
        self._running = None
        self.busy_ms += running.elapsed_ms
        plan = running.plan
        given, stopped = self._sampled(plan)
        committed = self._core.commit(IterationResult(plan.iteration, stopped, running.elapsed_ms))
        ended = tuple([finished.request_id for finished in committed.finished])
        self.outstanding.difference_update(ended)
        self._untold.append(NewTokens(given, ended))

    def tell(self) -> list[NewTokens]:
        """Return what the gateway has not heard yet, oldest first, and grant it what is free; nothing while silent."""
        if self.silent_since_ms is not None or not self.alive:
            return []
        told, self._untold = self._untold, []
        self._grant()
        return told

    def drain(self) -> None:
        """Take nothing new from now on."""
        self.draining = True
        self._view = None

    def lose(self) -> tuple[str, ...]:
        """Die with all that was not delivered; returns the requests that were here."""
        self.alive = False
        self._view = self._running = self.silent_since_ms = None
        lost = tuple(sorted(self.outstanding.union(*(tokens.ended for tokens in self._untold))))
        self.outstanding.clear()
        return lost

    def _sampled(self, plan: BatchPlan) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
        """Return whose tokens a plan samples, and which rows end by it.

        Plans that decode the same requests have their slots in common; until the first of them ends nothing changes.
        """
        last = self._last
        if plan.slots is last.slots and last.turns > 1:
            last.turns -= 1
            return last.given, last.stopped
        left = self._end_tokens[plan.slots] - (plan.starts + plan.counts)
        stopped = plan.samples & (left <= 1)
        if plan.slots is last.slots:
            return last.given, stopped
        given = tuple([self._ids[slot] for slot in plan.slots[plan.samples].tolist()])
        turns = int(left.min()) - 1 if len(given) == len(left) else 0
        self._last = _Sampled(plan.slots, given, stopped, turns)
        return given, stopped

    def _forget_view(self) -> None:
        if self.silent_since_ms is None:
            self._view = None

    def _grant(self) -> None:
        self._view = None
        self._account.update(
            self._issuer.grant(self._core.headroom.grantable_requests, self._core.headroom.free_blocks, gateways=1)
        )
