"""All fleets of one gateway, following the policy: who joins is opened, who has left is closed when it is idle."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from tierline.api.policy import CompiledPolicy, ModelPolicy
from tierline_gateway.served.fleet import ServedFleet
from tierline_gateway.workers.discovery import WorkerDiscovery

log = logging.getLogger(__name__)


class FleetSource(Protocol):
    """Tells where the workers of fleets are that join the gateway."""

    def open(self, fleet: str) -> WorkerDiscovery:
        """Begin to follow a fleet's workers."""
        ...

    def close(self, fleet: str) -> None:
        """Let go of a fleet."""
        ...


class ServedFleets:
    """The gateway's own fleet and its guests, by name. Without a `source` every model is its own fleet's.

    Fairness is each fleet's own matter, but what a tenant gets of one counts at all: their counters stand beside each
    other.
    """

    def __init__(
        self, own: ServedFleet, make: Callable[[str, WorkerDiscovery], ServedFleet], source: FleetSource | None = None
    ) -> None:
        self.own = own
        self._make = make
        self._source = source
        self._guests: dict[str, ServedFleet] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[ServedFleet]:
        yield self.own
        yield from self._guests.values()

    def find(self, name: str) -> ServedFleet | None:
        """Return a fleet that is served now, or has requests left from when it was."""
        return self.own if name == self.own.name else self._guests.get(name)

    def of(self, model: ModelPolicy) -> ServedFleet:
        """Return the fleet that serves `model`, which is opened if it has just joined."""
        if self._source is None or model.fleet == self.own.name:
            return self.own
        guest = self._guests.get(model.fleet)
        return guest if guest is not None else self._open(self._source, model.fleet)

    def serves(self, policy: CompiledPolicy, fleet: ServedFleet) -> bool:
        """Say whether some model of the policy is this fleet's."""
        return any(self._source is None or model.fleet == fleet.name for model in policy.models.values())

    def follow(self, policy: CompiledPolicy) -> None:
        """Open the fleets that joined, close those that left and are idle; needs a running event loop."""
        for model in policy.models.values():
            self.of(model)
        for guest in tuple(self._guests.values()):
            if guest.idle and not self.serves(policy, guest):
                self._close(guest)

    async def close(self) -> None:
        """Drop everything."""
        for fleet in tuple(self._guests.values()):
            self._close(fleet)
        await asyncio.gather(self.own.close(), *self._closing, return_exceptions=True)

    def _open(self, source: FleetSource, name: str) -> ServedFleet:
        log.info("fleet %s joins", name)
        guest = self._guests[name] = self._make(name, source.open(name))
        self._introduce()
        return guest

    def _close(self, guest: ServedFleet) -> None:
        log.info("fleet %s leaves", guest.name)
        del self._guests[guest.name]
        self._introduce()
        if self._source is not None:
            self._source.close(guest.name)
        task = asyncio.create_task(guest.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _introduce(self) -> None:
        counters = [fleet.dispatcher.queue.counters for fleet in self]
        for mine in counters:
            mine.stand_beside(other for other in counters if other is not mine)
