"""One look at a drill: observe, decide, record, do, tell."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from tierline.api.drill import FleetDrill
from tierline.api.names import DRILLS_ALLOWED, LABEL_DRILLS
from tierline.api.parsing import parse
from tierline.api.problems import InvalidResource
from tierline.fleet.drills.judging import Check
from tierline.fleet.drills.status import drill_status, drill_verdicts, read_drill, refused_verdicts
from tierline.fleet.drills.steps import DrillAct, DrillRecord, DrillStep, DrillView, Victim, step_drill
from tierline.fleet.guests import served_name
from tierline.fleet.observed import Manifest
from tierline.fleet.reading import read_identity, read_pod
from tierline.fleet.verdicts import Verdict, notices_of
from tierline_operator.actuator import Actuator
from tierline_operator.drill_counts import counted
from tierline_operator.drill_criteria import criteria_of
from tierline_operator.faults import Faults
from tierline_operator.kinds import FLEET_DRILL, POD, TENANT_QUOTA, WORKER_POOL
from tierline_operator.observing import find_fleet, sentences
from tierline_operator.pool_observing import gateways_of
from tierline_operator.reconciling import Clock, epoch_ms
from tierline_operator.stores import Stores

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0


class DrillReconciler:
    """Runs single drills; may be called again at any time."""

    def __init__(
        self, stores: Stores, actuator: Actuator, faults: Faults, identity: str, clock: Clock = epoch_ms
    ) -> None:
        self._stores = stores
        self._identity = identity
        self._actuator = actuator
        self._faults = faults
        self._clock = clock
        self._leader_since_ms = clock()

    async def drill(self, namespace: str, name: str) -> float | None:
        """Look after one drill; returns when to look again, None when it is over."""
        live = self._stores[FLEET_DRILL].get(namespace, name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            return None
        try:
            drill = parse(FleetDrill, live)
        except InvalidResource as invalid:
            message = f"{'; '.join(sentences(invalid))}."
            await self._tell(live, read_drill(live.get("status", {})), refused_verdicts("InvalidSpec", message))
            return None
        if _is_judged(live):
            return None
        view = await self._observe(drill, live)
        step = step_drill(view)
        if step.act is not DrillAct.NOTHING and step.record != view.record:
            # Recorded before it is done: whoever takes over knows what was begun.
            await self._tell(live, step.record, drill_verdicts(replace(step, verdict=None)), fenced=True)
        step = await self._act(drill, view, step)
        now = self._stores[FLEET_DRILL].get(namespace, name) or live
        await self._tell(now, step.record, drill_verdicts(step), checks=step.checks)
        return None if step.record.finished_ms is not None else WATCH_SECONDS

    async def deleted(self, namespace: str, name: str) -> None:
        """Take back what a drill that is being deleted has done."""
        live = self._stores[FLEET_DRILL].get(namespace, name)
        if live is None or "deletionTimestamp" not in live["metadata"]:
            return
        try:
            await self._faults.undo(parse(FleetDrill, live), read_drill(live.get("status", {})))
        except InvalidResource:
            log.info("drill %s/%s was never valid: there is nothing to undo", namespace, name)

    async def _act(self, drill: FleetDrill, view: DrillView, step: DrillStep) -> DrillStep:
        if step.act is DrillAct.UNDO:
            await self._faults.undo(drill, step.record)
        elif step.act is DrillAct.INJECT:
            refused = await self._faults.inject(drill, step.record)
            if refused:
                return step_drill(replace(view, record=step.record, refused=refused))
        return step

    async def _observe(self, drill: FleetDrill, live: Manifest) -> DrillView:
        spec, namespace = drill.spec, drill.metadata.namespace
        record = read_drill(live.get("status", {}))
        fleet = find_fleet(self._stores, namespace, spec.fleet_ref)
        uids, victim = self._workers(fleet)
        told = None
        if record.finished_ms is None and fleet is not None:
            gateways = gateways_of(self._stores, namespace, spec.fleet_ref)
            told = await counted(gateways, served_name(fleet), self._flood_tenant(drill))
        return DrillView(
            kind=spec.kind,
            lasts_ms=spec.seconds * 1000,
            criteria=criteria_of(spec),
            record=record,
            now_ms=self._clock(),
            quiet=_is_ready(fleet) and self._has_its_workers(fleet),
            leader=self._identity,
            leader_since_ms=self._leader_since_ms,
            obstacle=self._obstacle(drill, fleet),
            refused=self._withdrawn(drill, fleet),
            victim=victim,
            victim_gone=bool(record.target_uid) and record.target_uid not in uids,
            counts=told.tiers if told else None,
            flooded=told.flooded if told else None,
        )

    def _obstacle(self, drill: FleetDrill, fleet: Manifest | None) -> tuple[str, str] | None:
        name = drill.spec.fleet_ref
        if fleet is None:
            return "FleetNotFound", f"spec.fleetRef names {name!r}, and there is no such LLMFleet here."
        forbidden = self._forbidden(drill, fleet)
        if forbidden is not None:
            return forbidden
        other = next((it for it in _running(self._stores, drill.metadata.namespace, name, self._clock())), None)
        if other is not None:
            return "AnotherDrill", f"The drill {other} runs on the fleet; this one waits for its end."
        if not _is_ready(fleet):
            return "FleetNotReady", f"The fleet {name} is not Ready; the drill waits until it is."
        return None

    def _forbidden(self, drill: FleetDrill, fleet: Manifest) -> tuple[str, str] | None:
        if fleet["metadata"].get("labels", {}).get(LABEL_DRILLS) != DRILLS_ALLOWED:
            name = fleet["metadata"]["name"]
            return "NotAllowed", f"The fleet {name} does not bear the label {LABEL_DRILLS}={DRILLS_ALLOWED}."
        return self._flood_obstacle(drill)

    def _withdrawn(self, drill: FleetDrill, fleet: Manifest | None) -> str:
        """Say why a drill that runs must end: whoever allowed it may change his mind."""
        forbidden = self._forbidden(drill, fleet) if fleet is not None else None
        return forbidden[1].rstrip(".") if forbidden is not None else ""

    def _flood_obstacle(self, drill: FleetDrill) -> tuple[str, str] | None:
        """A flood is sent, and billed, in the name of a tenant that is there for it."""
        if drill.spec.flood is None:
            return None
        name = drill.spec.flood.tenant_quota_ref
        quota = self._stores[TENANT_QUOTA].get(drill.metadata.namespace, name)
        if quota is None:
            return "QuotaNotFound", f"spec.flood.tenantQuotaRef names {name!r}, and there is no such TenantQuota here."
        if quota["metadata"].get("labels", {}).get(LABEL_DRILLS) != DRILLS_ALLOWED:
            return "NotAllowed", f"The TenantQuota {name} does not bear the label {LABEL_DRILLS}={DRILLS_ALLOWED}."
        return None

    def _flood_tenant(self, drill: FleetDrill) -> str:
        flood = drill.spec.flood
        quota = self._stores[TENANT_QUOTA].get(drill.metadata.namespace, flood.tenant_quota_ref) if flood else None
        return str(quota["spec"].get("tenant", "")) if quota is not None else ""

    def _has_its_workers(self, fleet: Manifest | None) -> bool:
        """A fleet's condition follows its workers a moment later; who looks in between would see no fault at all."""
        pools = self._stores[WORKER_POOL].owned_by(fleet["metadata"]["uid"]) if fleet is not None else ()
        return all(self._ready_in(pool) >= int(pool["spec"].get("replicas", 0)) for pool in pools)

    def _ready_in(self, pool: Manifest) -> int:
        pods = map(read_pod, self._stores[POD].owned_by(pool["metadata"]["uid"]))
        return sum(pod.ready and not pod.terminating and not pod.finished for pod in pods)

    def _workers(self, fleet: Manifest | None) -> tuple[frozenset[str], Victim | None]:
        """Return the uids of the fleet's workers that are not on their way out, and one that a fault may hit."""
        pools = self._stores[WORKER_POOL].owned_by(fleet["metadata"]["uid"]) if fleet is not None else ()
        pods = [read_pod(obj) for pool in pools for obj in self._stores[POD].owned_by(pool["metadata"]["uid"])]
        here = [pod for pod in pods if not pod.terminating and not pod.finished]
        ready = sorted((pod for pod in here if pod.ready and pod.node), key=lambda pod: pod.name)
        victim = Victim(ready[0].name, ready[0].uid, ready[0].node) if ready else None
        return frozenset(pod.uid for pod in here), victim

    async def _tell(
        self,
        live: Manifest,
        record: DrillRecord,
        verdicts: tuple[Verdict, ...],
        fenced: bool = False,
        checks: tuple[Check, ...] = (),
    ) -> None:
        owner = read_identity(live)
        status = drill_status(owner, record, verdicts, self._clock(), checks)
        await self._actuator.write_status(owner, live, status, fenced)
        for notice in notices_of(owner, verdicts):
            await self._actuator.post_event(owner, notice)


def is_blacked_out(stores: Stores, namespace: str, fleet: str, now_ms: int) -> bool:
    """Say whether a drill wants the fleet's metrics to be ignored now."""
    return any(
        it["spec"].get("kind") == "MetricsBlackout"
        for it in _running(stores, namespace, fleet, now_ms).values()
        if now_ms < (read_drill(it["status"]).started_ms or 0) + 1000 * int(it["spec"].get("seconds", 30))
    )


def _running(stores: Stores, namespace: str, fleet: str, now_ms: int) -> Mapping[str, Manifest]:
    """Return the drills that have begun on a fleet and are not over, by name."""
    found: dict[str, Manifest] = {}
    for live in stores[FLEET_DRILL].all(namespace):
        record = read_drill(live.get("status", {}))
        begun = record.started_ms is not None and record.started_ms <= now_ms
        if live["spec"].get("fleetRef") == fleet and begun and record.finished_ms is None:
            found[live["metadata"]["name"]] = live
    return found


def _is_judged(live: Manifest) -> bool:
    conditions = live.get("status", {}).get("conditions", ())
    return any(it["type"] == "Passed" and it["status"] != "Unknown" for it in conditions)


def _is_ready(fleet: Manifest | None) -> bool:
    conditions = (fleet or {}).get("status", {}).get("conditions", ())
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
