"""Injects the faults of drills and takes them back. Both may be repeated at any time."""

import logging
from collections.abc import Callable

from tierline.api.drill import FleetDrill
from tierline.api.names import TAINT_SPOT_NOTICE
from tierline.fleet.drills.steps import DrillRecord
from tierline.fleet.observed import Reference
from tierline.fleet.reading import read_node
from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import NODE, POD
from tierline_operator.stores import Stores

log = logging.getLogger(__name__)

NODES_FORBIDDEN = (
    "The operator may not taint nodes, so it cannot announce a reclaim: set drills.taintNodes in the chart's values"
)


class Faults:
    """`step_down` lets this replica give up its leadership for some seconds."""

    def __init__(self, stores: Stores, actuator: Actuator, step_down: Callable[[float], None]) -> None:
        self._stores = stores
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
        elif spec.kind == "OperatorDown":
            log.warning("drill %s: this replica steps down for %d s", drill.metadata.name, spec.seconds)
            self._step_down(float(spec.seconds))
        return ""

    async def undo(self, drill: FleetDrill, record: DrillRecord) -> None:
        """Take back what outlives the drill: the notice on a node."""
        if drill.spec.kind == "SpotReclaim" and self._notice_on(record.target) == _deadline_s(drill, record):
            await self._actuator.take_notice_back(record.target)

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
