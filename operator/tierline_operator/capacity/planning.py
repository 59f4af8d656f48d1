"""The loop that looks at all fleets together: survey, read signals, scale, share what is scarce, say so."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tierline.fleet.placement.room import cents_per_hour
from tierline.fleet.scaling.capacity import WorkerShape, highest_rate
from tierline.fleet.scaling.cold_starts import PRIOR_SECONDS
from tierline.fleet.scaling.feasibility import feasible, shortfalls, unknown
from tierline.fleet.scaling.fleet_load import (
    declared_shape,
    fleet_load,
    measured,
    promises_of,
    scaling_policy,
    sized_pools,
    worker_shape,
)
from tierline.fleet.scaling.learned import Learned
from tierline.fleet.scaling.planner import ScalingPlan, plan_scaling
from tierline.fleet.scaling.signals import FleetTraffic, Reading, traffic_between
from tierline.fleet.scaling.status import (
    PLANNING_CONDITIONS,
    by_fallback,
    degraded,
    external,
    holding_still,
    placed,
    scaled,
    standing_verdicts,
)
from tierline.fleet.verdicts import Verdict
from tierline.fleet.wanted import Images
from tierline_operator.actuator import Actuator
from tierline_operator.capacity.accounts import FleetAccount, told
from tierline_operator.capacity.book import CapacityBook, FleetKey, FleetReport
from tierline_operator.capacity.keeping import Keeper
from tierline_operator.capacity.past import FleetPast
from tierline_operator.capacity.resizing import Resizer
from tierline_operator.capacity.rest import Rest
from tierline_operator.capacity.scenes import Scene, Scenes
from tierline_operator.capacity.sharing_out import Sharer
from tierline_operator.capacity.sources import SignalSource, SourceSilent
from tierline_operator.capacity.starting import StartLearner
from tierline_operator.capacity.surveying import Surveyor
from tierline_operator.feed import TRANSIENT
from tierline_operator.kinds import LLM_FLEET
from tierline_operator.reconciling import Clock
from tierline_operator.settings import PlanningTimes
from tierline_operator.stores import Stores
from tierline_operator.wakes import WakeKey, Wakes

log = logging.getLogger(__name__)

KEEPING_MS = 60_000


class Planner:
    """Plans for all fleets; one look after the other, never two at a time."""

    def __init__(
        self,
        stores: Stores,
        actuator: Actuator,
        book: CapacityBook,
        *,
        source: SignalSource,
        keeper: Keeper,
        wakes: Wakes,
        clock: Clock,
        times: PlanningTimes,
        images: Images,
    ) -> None:
        self._stores = stores
        self._actuator = actuator
        self._book = book
        self._source = source
        self._keeper = keeper
        self._wakes = wakes
        self._clock = clock
        self._times = times
        self._surveyor = Surveyor(stores, book)
        self._starts = StartLearner(stores, book)
        self._resizer = Resizer(stores, actuator, book, images, wakes)
        self._pasts: dict[FleetKey, FleetPast] = {}
        self._sharer = Sharer(stores, book, self._starts, times.sharing)
        self._scenes = Scenes(stores)
        self._rest = Rest()
        self._accounts: dict[FleetKey, FleetAccount] = {}
        self._learned = Learned()
        self._cents: Mapping[str, int] = {}
        self._kept_ms: int | None = None

    async def open(self) -> None:
        """Take over what a former leader learned and look around once, before anything is placed."""
        try:
            self._learned = await self._keeper.learned()
            self._book.prices = await self._keeper.prices() or self._book.prices
        except TRANSIENT as error:
            log.warning("starting without prices and what was learned: %s", error or type(error).__name__)
        self._book.history = self._learned.history
        self._starts.resume(self._learned)
        self._kept_ms = self._clock()
        self._surveyor.survey(self._clock())

    async def look(self) -> float:
        """Plan once; returns the seconds until the next time."""
        now_ms, changes = self._clock(), self._stores.changes
        rests = self._rest.holds(changes, now_ms)
        scenes = self._rest.scenes if rests else self._survey(now_ms)
        readings, why = await self._read(scenes, now_ms)
        if rests and not readings and why == self._rest.why:
            return self._times.every_seconds
        if rests:
            scenes = self._survey(now_ms)
        await self._decide(scenes, readings, why, now_ms)
        self._rest = Rest(scenes, changes, now_ms, why, not readings)
        return self._times.every_seconds

    def _survey(self, now_ms: int) -> tuple[Scene, ...]:
        """Look at the whole cluster; returns its fleets."""
        if self._surveyor.survey(now_ms):
            self._wakes.wake_kind("WorkerPool")
        self._cents = cents_per_hour(self._book.rooms, self._book.prices)
        return self._scenes.look(now_ms)

    async def _decide(
        self, scenes: tuple[Scene, ...], readings: Mapping[FleetKey, Reading], why: str, now_ms: int
    ) -> None:
        self._starts.look(scenes, readings, now_ms)
        traffic = {scene.key: self._traffic(scene, readings.get(scene.key), now_ms) for scene in scenes}
        plans = {scene.key: self._plan(scene, traffic[scene.key], now_ms) for scene in scenes}
        self._sharer.share(scenes, plans, traffic, now_ms)
        for scene in scenes:
            await self._scale(scene, plans[scene.key], traffic[scene.key], now_ms)
        self._report({scene.key: self._judge(scene, plans[scene.key], why, now_ms) for scene in scenes})
        self._forget(scenes)
        await self._keep(now_ms)

    async def _read(self, scenes: tuple[Scene, ...], now_ms: int) -> tuple[Mapping[FleetKey, Reading], str]:
        try:
            return await self._source.read([scene.pods for scene in scenes], now_ms), ""
        except SourceSilent as silent:
            log.warning("%s", silent)
            return {}, str(silent)

    def _past(self, scene: Scene) -> FleetPast:
        return self._pasts.setdefault(scene.key, FleetPast(since_ms=self._clock()))

    def _traffic(self, scene: Scene, reading: Reading | None, now_ms: int) -> FleetTraffic | None:
        """Return the fleet's traffic over the last minute; None when nobody tells."""
        past = self._past(scene)
        if reading is None:
            return None
        if reading.source != past.source:
            # Two sources are not equally up to date: a counter may seem to fall, which would look like a restart.
            past.source = reading.source
            past.readings.clear()
        past.heard_ms = now_ms
        past.readings.append(reading)
        while len(past.readings) > 1 and past.readings[1].at_ms <= now_ms - 1000 * self._times.look_back_seconds:
            past.readings.popleft()
        before = past.readings[0] if len(past.readings) > 1 else None
        return traffic_between(before, reading)

    def _plan(self, scene: Scene, traffic: FleetTraffic | None, now_ms: int) -> ScalingPlan | None:
        self._learn(scene, traffic)
        past = self._past(scene)
        if traffic is None or not scene.scales or len(past.readings) < 2:
            return None
        pools = {name: (facts, self._worker(scene, name, traffic)) for name, facts in scene.pools.items()}
        lead = max((it.time.bound_seconds for it in self._starts.expected(scene).values()), default=PRIOR_SECONDS)
        load = past.load = fleet_load(scene.fleet, scene.tiers, pools, traffic, lead)
        plan, past.memory = plan_scaling(scaling_policy(scene.fleet), past.memory, load, now_ms)
        return plan

    def _learn(self, scene: Scene, traffic: FleetTraffic | None) -> None:
        if traffic is None:
            return
        for facts in scene.pools.values():
            coefficients, warm = measured(facts, traffic)
            kinds = {scene.accelerators[pod] for pod in facts.pods if pod in scene.accelerators}
            if coefficients is not None and warm and len(kinds) == 1:
                key = (facts.pool.spec.model.source, kinds.pop())
                self._learned = self._learned.taught(key, coefficients)
        self._book.speeds = self._speeds(scene, traffic)

    def _speeds(self, scene: Scene, traffic: FleetTraffic) -> Mapping[str, Mapping[str, float]]:
        """Return requests a second by accelerator for the fleet's model, beside what other models have."""
        shape = traffic.shape or declared_shape(scene.fleet)
        model = scene.fleet.spec.model.source
        speeds = dict(self._book.speeds)
        if shape is None or not scene.pools:
            return speeds
        pool = next(iter(scene.pools.values())).pool
        told = {
            accelerator: worker_shape(pool, coefficients)
            for (source, accelerator), coefficients in self._learned.coefficients.items()
            if source == model
        }
        speeds[model] = {kind: highest_rate(it, shape, None) for kind, it in told.items() if it is not None}
        return speeds

    def _worker(self, scene: Scene, name: str, traffic: FleetTraffic | None) -> WorkerShape | None:
        """Return what a pool's worker is: as measured, or as learned before."""
        facts = scene.pools[name]
        coefficients, warm = measured(facts, traffic) if traffic is not None else (None, False)
        if coefficients is None or not warm:
            key = (facts.pool.spec.model.source, facts.pool.spec.accelerator or "")
            known = self._learned.coefficients.get(key)
            coefficients, warm = (known, True) if known is not None else (coefficients, warm)
        return worker_shape(facts.pool, coefficients, warm)

    async def _scale(self, scene: Scene, plan: ScalingPlan | None, traffic: FleetTraffic | None, now_ms: int) -> None:
        if scene.scales:
            targets = {name: self._sharer.target(scene, name, plan) for name in scene.pools}
            moves, running = plan.moves if plan else (), traffic.running if traffic else {}
            await self._resizer.resize(scene, targets, moves, running, now_ms)

    def _judge(self, scene: Scene, plan: ScalingPlan | None, why: str, now_ms: int) -> FleetReport:
        verdicts = (
            self._feasible(scene),
            placed(scene.waiting(self._book.history)),
            self._scaled(scene, plan, why, now_ms),
        )
        cents = sum(self._cents.get(worker.uid, 0) for workers in scene.workers.values() for worker in workers)
        report = FleetReport((*verdicts, degraded(verdicts)), cents, self._starts.cached(scene))
        load = self._past(scene).load if plan else None
        source = self._past(scene).source or self._source.name
        about = (self._sharer.caps(scene), scene.workers, self._starts.expected(scene), self._sharer.turns(scene))
        self._accounts[scene.key] = FleetAccount(now_ms, source, report.verdicts, load, plan, *about)
        return report

    def _feasible(self, scene: Scene) -> Verdict:
        workload = scene.fleet.spec.workload
        if workload is None:
            return unknown("NoWorkload", "spec.workload is not given: say what traffic to expect.")
        shape = declared_shape(scene.fleet)
        readings = self._past(scene).readings
        traffic = traffic_between(None, readings[-1]) if readings else None
        pools = {name: (facts, self._worker(scene, name, traffic)) for name, facts in scene.pools.items()}
        sized = sized_pools(pools)
        if shape is None or not sized or len(sized) < len(pools):
            return unknown("NotMeasured", "No worker has told yet how fast the model is here.")
        found = shortfalls(promises_of(scene.tiers), sized, shape, workload.requests_per_minute / 60)
        return feasible(found, sum(pool.replicas for pool in sized))

    def _scaled(self, scene: Scene, plan: ScalingPlan | None, why: str, now_ms: int) -> Verdict:
        past = self._past(scene)
        if not scene.scales:
            return external()
        if plan is not None:
            highs = {name: facts.high for name, facts in scene.pools.items()}
            verdict = scaled(plan, self._sharer.caps(scene), highs, self._sharer.turns(scene))
            return by_fallback(verdict, past.source, self._source.name) if past.source != self._source.name else verdict
        if now_ms - (past.heard_ms or past.since_ms) >= 1000 * self._times.silence_seconds:
            return holding_still(why or "not every gateway answers", self._source.name)
        standing = next((it for it in self._standing(scene) if it.type == "Scaled"), None)
        return standing or Verdict("Scaled", None, "Starting", "Signals are being gathered.", is_news=False)

    def _standing(self, scene: Scene) -> tuple[Verdict, ...]:
        """Return what was said last: a new leader takes over what its predecessor wrote, until it knows better."""
        before = self._book.report(*scene.key)
        if before is not None:
            return before.verdicts
        live = self._stores[LLM_FLEET].get(*scene.key) or {}
        return standing_verdicts(live.get("status", {}).get("conditions", ()), PLANNING_CONDITIONS)

    def account_of(self, namespace: str, fleet: str) -> dict[str, Any] | None:
        """Return why a fleet is as it is, None for one that is not known."""
        account = self._accounts.get((namespace, fleet))
        return told(account, self._book) if account is not None else None

    def _report(self, reports: Mapping[FleetKey, FleetReport]) -> None:
        before = self._book.reports
        self._book.reports = reports
        for (namespace, name), report in reports.items():
            if before.get((namespace, name)) != report:
                self._wakes.wake(WakeKey("LLMFleet", namespace, name))

    def _forget(self, scenes: tuple[Scene, ...]) -> None:
        alive = {scene.key for scene in scenes}
        self._pasts = {key: past for key, past in self._pasts.items() if key in alive}
        self._accounts = {key: account for key, account in self._accounts.items() if key in alive}

    async def _keep(self, now_ms: int) -> None:
        if self._kept_ms is not None and now_ms - self._kept_ms < KEEPING_MS:
            return
        self._kept_ms = now_ms
        self._learned = self._starts.taught(replace(self._learned, history=self._book.history))
        await self._keeper.keep(self._learned)
        self._book.prices = await self._keeper.prices() or self._book.prices
