"""Names of children that somebody else's objects bear.

The stores hold labelled objects only, and an apply would take over whatever else bears a child's name. Before anything
is written the server is asked for a Service of that name: it is what users have, and older servers (1.20, say) take no
condition with one that is not there. The other children are applied on the condition that they are not there; where
that fails the server is asked who bears the name, and from then on it is asked for all of the fleet's first.
"""

import asyncio

from tierline.fleet.fleet_plan import ChildKey, FleetObservation, owns
from tierline.fleet.observed import Manifest
from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError
from tierline_operator.kinds import BY_KIND, SERVICE

_NOT_MADE = frozenset({404, 409, 412})
"""What a condition that does not hold is answered with: 409 where the object is there; what a server says to a
condition about one that is not there is its own affair."""


class TakenNames:
    """Applies children of fleets unless their names are taken, and remembers of which fleets some are."""

    def __init__(self, actuator: Actuator) -> None:
        self._actuator = actuator
        self._taken: dict[str, frozenset[ChildKey]] = {}

    def taken(self, seen: FleetObservation) -> frozenset[ChildKey]:
        """Return the names that were found taken when they were last tried."""
        return self._taken.get(seen.fleet.uid, frozenset())

    async def ask(self, seen: FleetObservation) -> frozenset[ChildKey]:
        """Return the names that are taken, as far as that has to be known before anything is written."""
        suspected = bool(self.taken(seen))
        asked = (key for key in seen.absent() if BY_KIND[key.kind].selector)
        keys = [key for key in asked if suspected or key.kind == SERVICE.kind]
        strange = await asyncio.gather(*(self._is_strange(seen, key) for key in keys))
        self._taken.pop(seen.fleet.uid, None)
        self._note(seen, frozenset(key for key, it in zip(keys, strange, strict=True) if it))
        return self.taken(seen)

    async def apply(self, seen: FleetObservation, manifest: Manifest) -> None:
        """Apply a child; one that is not ours is left as it is, and its name is taken from now on."""
        key = ChildKey(manifest["kind"], manifest["metadata"]["name"])
        asked = key in seen.children or key.kind == SERVICE.kind
        if not asked and await self._was_made(manifest):
            return
        if not asked and await self._is_strange(seen, key):
            self._note(seen, frozenset({key}))
        else:
            await self._actuator.apply(manifest)

    async def _was_made(self, manifest: Manifest) -> bool:
        try:
            await self._actuator.apply(manifest, only_new=True)
        except ApiError as error:
            if error.status not in _NOT_MADE:
                raise
            return False
        return True

    def _note(self, seen: FleetObservation, keys: frozenset[ChildKey]) -> None:
        if keys:
            self._taken[seen.fleet.uid] = self.taken(seen) | keys

    async def _is_strange(self, seen: FleetObservation, key: ChildKey) -> bool:
        live = await self._actuator.find(BY_KIND[key.kind], seen.fleet.namespace, key.name)
        return live is not None and not owns(seen.fleet, live)
