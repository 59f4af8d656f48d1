"""Everything that answers later, put together over one store."""

import asyncio
import logging
import time
from pathlib import Path

from tierline_gateway.deferred.endpoints import DeferredEndpoints
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.sqlite_store import SQLiteStore
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.deferred.tickets import Tickets
from tierline_gateway.front.intake import Intake
from tierline_gateway.service import GatewayService

log = logging.getLogger(__name__)

PURGE_S = 600.0


class Later:
    """Stored requests of one gateway; `run` is its job."""

    def __init__(self, service: GatewayService, store: RecordStore) -> None:
        self._store = store
        self.tickets = Tickets(store, PatientClient(Intake(service)), service.own.instruments)
        self.endpoints = DeferredEndpoints(service, self.tickets)

    @classmethod
    def kept_in(cls, service: GatewayService, directory: Path) -> "Later":
        return cls(service, SQLiteStore(directory))

    async def run(self) -> None:
        """Take up what is stored and forget what expired, until cancelled."""
        await self.tickets.start()
        while True:
            await self._store.purge(time.time())
            await asyncio.sleep(PURGE_S)

    async def close(self) -> None:
        """Stop answering and close the store; what is not answered stays in it."""
        await self.tickets.stop()
        await self._store.close()
