"""One look at a pool: observe, decide how far a change goes, record that, carry the plan out, tell."""

import re
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tierline.api.names import LABEL_REVISION
from tierline.fleet.census import take_census
from tierline.fleet.drift import has_drifted, stamped
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.slot_pod import slotted
from tierline.fleet.placement.weights import preferring
from tierline.fleet.pool_plan import PoolObservation, PoolPlan, plan_pool
from tierline.fleet.pool_status import pool_status, pool_verdicts
from tierline.fleet.rollout.canary import CanaryFigures
from tierline.fleet.rollout.disruption_budget import disruption_budget
from tierline.fleet.rollout.record import read_record, record_status
from tierline.fleet.rollout.revision_history import forgotten, next_number, revision_object
from tierline.fleet.rollout.steps import RolloutRecord, RolloutStep, RolloutView, in_canary, step_rollout
from tierline.fleet.wanted import Images
from tierline.fleet.worker_pod import template_revision, worker_pod
from tierline_operator.actuator import Actuator
from tierline_operator.canary_figures import Change, FigureSource
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.placing import place_pool, start_time_ms
from tierline_operator.drill_reconciling import is_blacked_out
from tierline_operator.kinds import DISRUPTION_BUDGET
from tierline_operator.looping import NotYet, Refused
from tierline_operator.pool_observing import PoolView, attainment_of, find_pool, gateways_of, observe_pool
from tierline_operator.reconciling import Clock, epoch_ms
from tierline_operator.stores import Stores
from tierline_operator.telling import Teller
from tierline_operator.together import first_refusal, together

HELD_SECONDS = 1.0
FIGURES_SECONDS = 5.0
"""How often canaries are looked at: no watch tells of requests."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """A pool as observed, with its change's step and the plan that follows from it."""

    view: PoolView
    live: Manifest
    step: RolloutStep
    plan: PoolPlan

    @property
    def seen(self) -> PoolObservation:
        return self.view.seen


class PoolReconciler:
    """Brings single pools nearer to what is wanted; may be called again at any time."""

    def __init__(
        self,
        stores: Stores,
        actuator: Actuator,
        images: Images,
        *,
        figures: FigureSource,
        book: CapacityBook,
        clock: Clock = epoch_ms,
        status_seconds: float = 0.0,
    ) -> None:
        self._stores = stores
        self._actuator = actuator
        self._images = images
        self._figures = figures
        self._book = book
        self._clock = clock
        self._teller = Teller(actuator, status_seconds)

    async def pool(self, namespace: str, name: str) -> float | None:
        """Reconcile one pool; returns the seconds until time alone changes its plan, or raises `Refused` with them."""
        live = find_pool(self._stores, namespace, name)
        if live is None:
            raise NotYet
        if "deletionTimestamp" in live["metadata"]:
            return None
        if (namespace, name) in self._book.held:
            return HELD_SECONDS
        changes, decided = self._stores.changes, await self._decide(live)
        refusal = await self._prepare(decided)
        refusal = refusal or await first_refusal(self._writes(decided))
        refusal = _without_attempts(refusal, name)
        now, decided = (live, decided) if self._stores.changes == changes else self._afresh(decided)
        left = await self._tell(now, decided, refusal) if now is not None else None
        due = min((it for it in (self._due(decided), left) if it is not None), default=None)
        if refusal:
            raise Refused(refusal, due)
        return due

    async def _decide(self, live: Manifest) -> _Decided:
        view = observe_pool(self._stores, live, self._images, self._clock())
        record = read_record(live.get("status", {}))
        if view.template is None:
            return _Decided(view, live, RolloutStep(record, {}), plan_pool(view.seen))
        view = replace(view, seen=replace(view.seen, start_ms=start_time_ms(self._book, live, view)))
        step = step_rollout(await self._rollout_view(view, record))
        placement = place_pool(self._stores, self._book, live, view)
        seen = replace(view.seen, shares=step.shares, placement=placement)
        return _Decided(replace(view, seen=seen), live, step, plan_pool(seen))

    async def _rollout_view(self, view: PoolView, record: RolloutRecord) -> RolloutView:
        seen, wanted = view.seen, view.seen.revision or ""
        if record.stable not in {wanted, *view.templates}:
            # Somebody deleted the only record of it: there is nothing to take the change back to.
            record = RolloutRecord()
        figures = await self._figures_of(view, record)
        staying = take_census(seen.pods, seen.nodes, seen.now_ms).staying
        attainment = attainment_of(self._stores, seen.pool.namespace, view.fleet) if figures else {}
        return RolloutView(record, wanted, seen.replicas, view.policy, staying, seen.now_ms, figures, attainment)

    async def _figures_of(self, view: PoolView, record: RolloutRecord) -> CanaryFigures | None:
        pool, wanted = view.seen.pool, view.seen.revision
        if wanted is None or not in_canary(record, wanted):
            self._figures.forget(pool.uid)
            return None
        if is_blacked_out(self._stores, pool.namespace, view.fleet, self._clock()):
            return None
        gateways = gateways_of(self._stores, pool.namespace, view.fleet)
        return await self._figures.figures(Change(pool.uid, pool.name, record.stable, wanted, gateways))

    async def _prepare(self, decided: _Decided) -> str:
        """Keep what the workers are made from and record their numbers; returns what was refused of the former."""
        refusals: list[str] = []

        async def keep() -> None:
            refusals.append(await first_refusal([tuple(self._revisions(decided.view))]))

        await together(keep(), self._record(decided))
        return refusals[0]

    def _revisions(self, view: PoolView) -> Iterable[Awaitable[None]]:
        if view.template is not None and template_revision(view.template) not in view.templates:
            yield self._actuator.create(revision_object(view.seen.pool, view.template, next_number(view.history)))

    async def _record(self, decided: _Decided) -> None:
        """Recorded before pods are made or removed: whoever takes over goes on, and no name is used a second time."""
        status = decided.live.get("status", {})
        changed = read_record(status) != read_record({"rollout": record_status(decided.step.record)})
        if decided.view.template is None or not (changed or decided.plan.workers):
            return
        recorded = {**status, "lastAttempt": decided.plan.last_attempt, "rollout": _rollout_status(decided.step)}
        self._teller.told(decided.seen.pool.uid)
        await self._actuator.write_status(decided.seen.pool, decided.live, recorded, fenced=True)

    def _writes(self, decided: _Decided) -> Iterable[Sequence[Awaitable[None]]]:
        """Yield stage after stage: new workers and what running ones have to know, then what goes."""
        namespace, plan, view = decided.seen.pool.namespace, decided.plan, decided.view
        yield [
            *(self._actuator.create(it) for it in _new_pods(decided)),
            *(self._actuator.relabel(namespace, *it) for it in _mislabelled(view)),
            *(self._actuator.publish_deadline(namespace, it) for it in plan.evacuations),
        ]
        yield [self._actuator.apply(it) for it in self._budget(view)]
        yield [self._actuator.remove_pod(namespace, it) for it in plan.removals]
        record = decided.step.record
        old = forgotten(view.history, record, decided.seen.revision, decided.seen.pods) if view.template else ()
        yield [self._actuator.delete(it) for it in old]

    def _budget(self, view: PoolView) -> Iterable[Manifest]:
        pool = view.seen.pool
        budget = stamped(disruption_budget(pool, view.fleet, view.policy.max_unavailable))
        live = self._stores[DISRUPTION_BUDGET].get(pool.namespace, pool.name)
        leaving = live is not None and "deletionTimestamp" in live["metadata"]
        if view.template is not None and not leaving and has_drifted(live, budget):
            yield budget

    def _afresh(self, decided: _Decided) -> tuple[Manifest | None, _Decided]:
        """Return the pool as it is after the writes, with what was decided before them.

        None where its spec is another one by now: that was not acted on, so the next look tells of it.
        """
        former = decided.seen
        live = find_pool(self._stores, former.pool.namespace, former.pool.name)
        if live is None or not former.pool.asks_as(live):
            return None, decided
        view = observe_pool(self._stores, live, self._images, self._clock())
        seen = replace(view.seen, shares=former.shares, placement=former.placement, start_ms=former.start_ms)
        return live, replace(decided, view=replace(view, seen=seen))

    async def _tell(self, live: Manifest, decided: _Decided, refusal: str) -> float | None:
        """Write the pool's status, or return how long to wait with it: one that is refused is told of at once."""
        verdicts = pool_verdicts(decided.seen, decided.view.problems, decided.step.hold, refusal)
        status = pool_status(decided.seen, verdicts, decided.plan.last_attempt, _rollout_status(decided.step))
        return await self._teller.tell(decided.seen.pool, live, status, verdicts, at_once=bool(refusal))

    def _due(self, decided: _Decided) -> float | None:
        now_ms, hold = self._clock(), decided.step.hold
        moments = (decided.plan.wake_at_ms, decided.step.wake_at_ms)
        dues = [max(0, moment - now_ms) / 1000 for moment in moments if moment is not None]
        if hold is not None and hold.gate != "Rollback":
            dues.append(FIGURES_SECONDS)
        return min(dues, default=None)


def _mislabelled(view: PoolView) -> Iterable[tuple[str, str, Mapping[str, str]]]:
    """Name, uid and labels of workers whose labels somebody changed."""
    for live in view.pods:
        metadata = live["metadata"]
        template = view.templates.get(metadata.get("labels", {}).get(LABEL_REVISION, ""))
        labels = template["metadata"]["labels"] if template is not None else {}
        if "deletionTimestamp" not in metadata and not labels.items() <= metadata.get("labels", {}).items():
            yield metadata["name"], metadata["uid"], labels


def _new_pods(decided: _Decided) -> Iterable[Manifest]:
    view, wanted = decided.view, decided.view.template
    templates = {**view.templates, **({template_revision(wanted): wanted} if wanted is not None else {})}
    placement = decided.seen.placement
    for index, made in enumerate(decided.plan.workers):
        pod = worker_pod(templates[made.revision], decided.seen.pool.name, made.attempt)
        yield preferring(slotted(pod, placement.slot_of(index)), placement.warm_hosts) if placement else pod


def _rollout_status(step: RolloutStep) -> Mapping[str, Any]:
    return record_status(step.record, step.hold)


def _without_attempts(message: str, pool: str) -> str:
    """Return the message without the number of the worker: it differs each time, and a status must not."""
    return re.sub(rf"(?<![\w.-]){re.escape(pool)}-\d+(?![\w.-])", f"{pool}-*", message)
