"""Everything that answers later, put together over one store."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from tierline_gateway.batches.batch_endpoints import BatchEndpoints
from tierline_gateway.batches.batches import Batches
from tierline_gateway.batches.file_endpoints import FileEndpoints
from tierline_gateway.batches.storage_limits import StorageLimits
from tierline_gateway.batches.uploads import Uploads
from tierline_gateway.deferred.endpoints import DeferredEndpoints
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.deferred.sweeping import sweep_for_ever
from tierline_gateway.deferred.tickets import Tickets
from tierline_gateway.front.intake import Endpoint, Intake
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.live import LiveRequest


class Later:
    """Stored requests, files and batches of one gateway; `run` is its job. `holder` is this process's alone."""

    def __init__(
        self, service: GatewayService, store: RecordStore, holder: str, limits: StorageLimits | None = None
    ) -> None:
        client = PatientClient(Intake(service))
        self._store = store
        self.tickets = Tickets(store, holder, client, service.own.instruments)
        self.batches = Batches(store, holder, client, limits or StorageLimits())
        self._requests = DeferredEndpoints(service, self.tickets)
        uploads = Uploads(store, self.batches.files)
        self._routes = (
            self._requests,
            FileEndpoints(service, self.batches, uploads),
            BatchEndpoints(service, self.batches),
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for routes in self._routes:
            routes.add_routes(router)

    def wanted(self, headers: Mapping[str, str], live: LiveRequest) -> bool:
        return self._requests.wanted(headers, live)

    async def accept(self, live: LiveRequest, endpoint: Endpoint, body: bytes) -> web.Response:
        return await self._requests.accept(live, endpoint, body)

    async def run(self) -> None:
        """Work on what is stored and forget what expired, until cancelled."""
        async with asyncio.TaskGroup() as jobs:
            jobs.create_task(self.tickets.holding.run())
            jobs.create_task(self.batches.holding.run())
            jobs.create_task(sweep_for_ever(self._store, self.batches.files))

    async def stop(self) -> None:
        """Stop answering; what is not answered stays stored, and others may go on with it at once."""
        await self.tickets.holding.stop()
        await self.batches.holding.stop()

    async def close(self) -> None:
        await self.stop()
        await self._store.close()
