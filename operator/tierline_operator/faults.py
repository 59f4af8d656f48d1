"""Injects the faults of drills and takes them back. Both may be repeated at any time."""

import base64
import binascii
import logging
from collections.abc import Callable

from tierline.api.drill import FleetDrill
from tierline.api.fleet import LLMFleet
from tierline.api.names import TAINT_SPOT_NOTICE
from tierline.api.parsing import parse
from tierline.api.quota import TenantQuota
from tierline.fleet.drills.steps import DrillRecord
from tierline.fleet.observed import Manifest, Reference
from tierline.fleet.reading import read_node
from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError
from tierline_operator.flooding import FloodPlan, Floods
from tierline_operator.kinds import NODE, POD, SECRET, TENANT_QUOTA
from tierline_operator.observing import find_fleet
from tierline_operator.pool_observing import gateways_of
from tierline_operator.stores import Stores

log = logging.getLogger(__name__)

NODES_FORBIDDEN = (
    "The operator may not taint nodes, so it cannot announce a reclaim: set drills.taintNodes in the chart's values"
)


class Faults:
    """`step_down` lets this replica give up its leadership for some seconds."""

    def __init__(self, stores: Stores, actuator: Actuator, floods: Floods, step_down: Callable[[float], None]) -> None:
        self._stores = stores
        self._floods = floods
        self._actuator = actuator
        self._step_down = step_down

    async def inject(self, drill: FleetDrill, record: DrillRecord) -> str:
        """Do what the drill says to what is recorded; returns why that is not possible, empty when it is done."""
        spec = drill.spec
        if spec.kind == "WorkerKill":
            await self._actuator.delete(
                Reference(POD.kind, drill.metadata.namespace, record.target, record.target_uid), grace_seconds=0
            )
        elif spec.kind == "SpotReclaim":
            return await self._announce(record.target, _deadline_s(drill, record))
        elif spec.kind == "TenantFlood":
            return await self._flood(drill, record)
        elif spec.kind == "OperatorDown":
            log.warning("drill %s: this replica steps down for %d s", drill.metadata.name, spec.seconds)
            self._step_down(float(spec.seconds))
        return ""

    async def undo(self, drill: FleetDrill, record: DrillRecord) -> None:
        """Take back what outlives the drill: the notice on a node, and a flood."""
        await self._floods.stop(drill.metadata.uid)
        if drill.spec.kind == "SpotReclaim" and self._notice_on(record.target) == _deadline_s(drill, record):
            await self._actuator.take_notice_back(record.target)

    async def _flood(self, drill: FleetDrill, record: DrillRecord) -> str:
        flood, namespace = drill.spec.flood, drill.metadata.namespace
        fleet = find_fleet(self._stores, namespace, drill.spec.fleet_ref)
        if flood is None or fleet is None or drill.metadata.uid in self._floods.running:
            return ""
        quota = self._stores[TENANT_QUOTA].get(namespace, flood.tenant_quota_ref)
        key = await self._key_of(quota) if quota is not None else ""
        if not key:
            return f"The TenantQuota {flood.tenant_quota_ref} has no API key that can be read: put one into its Secret"
        plan = FloodPlan(
            gateways=lambda: tuple(gateways_of(self._stores, namespace, drill.spec.fleet_ref).values()),
            key=key,
            model=parse(LLMFleet, fleet).served_name,
            per_second=flood.requests_per_second,
            prompt_tokens=flood.prompt_tokens,
            output_tokens=flood.output_tokens,
            until_s=(record.started_ms or 0) / 1000 + drill.spec.seconds,
        )
        self._floods.start(drill.metadata.uid, plan)
        return ""

    async def _key_of(self, quota: Manifest) -> str:
        """Return the first API key of a quota; empty when its Secret has none, or may not be read."""
        reference = parse(TenantQuota, quota).spec.api_key_secret_refs[0]
        try:
            secret = await self._actuator.find(SECRET, quota["metadata"]["namespace"], reference.name)
            return base64.b64decode((secret or {}).get("data", {}).get(reference.key, "")).decode().strip()
        except ApiError as error:
            if error.status != 403:
                raise
            log.warning("the Secret %s may not be read: %s", reference.name, error)
        except (binascii.Error, UnicodeDecodeError) as error:
            log.warning("the Secret %s holds no API key: %s", reference.name, error)
        return ""

    async def _announce(self, node: str, deadline_s: str) -> str:
        if self._notice_on(node) == deadline_s:
            return ""
        try:
            await self._actuator.announce_reclaim(node, deadline_s)
        except ApiError as error:
            if error.status != 403:
                raise
            return NODES_FORBIDDEN
        return ""

    def _notice_on(self, node: str) -> str | None:
        live = self._stores[NODE].get("", node)
        return None if live is None else read_node(live).taints.get(TAINT_SPOT_NOTICE)


def _deadline_s(drill: FleetDrill, record: DrillRecord) -> str:
    return str((record.started_ms or 0) // 1000 + drill.spec.seconds)
