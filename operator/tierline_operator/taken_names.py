"""Names of children that somebody else's objects bear.

The stores hold labelled objects only, and an apply would take over whatever else bears a child's name. So what they do
not know is applied on the condition that it is not there; the server is asked who bears a name only where that fails,
and before anything else is written once that has been found of a fleet.
"""

import asyncio

from tierline.fleet.fleet_plan import ChildKey, FleetObservation, owns
from tierline.fleet.observed import Manifest
from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import BY_KIND, SERVICE

_UNCONDITIONAL = frozenset({SERVICE.kind})
"""Older servers (1.20, say) take no condition with a Service that is not there: they are asked before each."""


class TakenNames:
    """Applies children of fleets unless their names are taken, and remembers of which fleets some are."""

    def __init__(self, actuator: Actuator) -> None:
        self._actuator = actuator
        self._taken: dict[str, frozenset[ChildKey]] = {}

    def taken(self, seen: FleetObservation) -> frozenset[ChildKey]:
        """Return the names that were found taken when they were last tried."""
        return self._taken.get(seen.fleet.uid, frozenset())

    async def ask_again(self, seen: FleetObservation) -> frozenset[ChildKey]:
        """Return the names that are taken still; nothing is asked of a fleet of which none was."""
        if not self.taken(seen):
            return frozenset()
        keys = [key for key in seen.absent() if BY_KIND[key.kind].selector]
        strange = await asyncio.gather(*(self._is_strange(seen, key) for key in keys))
        still = frozenset(key for key, it in zip(keys, strange, strict=True) if it)
        self._taken.pop(seen.fleet.uid)
        self._note(seen, still)
        return still

    async def apply(self, seen: FleetObservation, manifest: Manifest) -> None:
        """Apply a child; one that is not ours is left as it is, and its name is taken from now on."""
        key = ChildKey(manifest["kind"], manifest["metadata"]["name"])
        known = key in seen.children
        if not known and await self._was_made(manifest):
            return
        if not known and await self._is_strange(seen, key):
            self._note(seen, frozenset({key}))
        else:
            await self._actuator.apply(manifest)

    async def _was_made(self, manifest: Manifest) -> bool:
        if manifest["kind"] in _UNCONDITIONAL:
            return False
        try:
            await self._actuator.apply(manifest, only_new=True)
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    def _note(self, seen: FleetObservation, keys: frozenset[ChildKey]) -> None:
        if keys:
            self._taken[seen.fleet.uid] = self.taken(seen) | keys

    async def _is_strange(self, seen: FleetObservation, key: ChildKey) -> bool:
        live = await self._actuator.find(BY_KIND[key.kind], seen.fleet.namespace, key.name)
        return live is not None and not owns(seen.fleet, live)
