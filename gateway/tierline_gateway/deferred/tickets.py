"""Keeps tickets: stores them before they are given, has them answered, and takes them up again after a restart."""

import asyncio
import logging
import secrets
import time

import msgspec

from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.deferred.ticket import KEPT_S, KIND, Ticket, TicketStatus, ticket_of
from tierline_gateway.front.api_errors import ApiError, failed, too_many
from tierline_gateway.front.intake import ENDPOINTS, Endpoint
from tierline_gateway.instruments import Instruments

log = logging.getLogger(__name__)

MAX_TICKETS = 1000
MAX_BYTES = 64 * 1024 * 1024
"""Of one tenant, answered ones included until they are forgotten or deleted."""
AT_ONCE = 256
"""So many tickets are at the desk at one time; the others wait in the store."""


class Tickets:
    """All tickets of one gateway."""

    def __init__(self, store: RecordStore, client: PatientClient, instruments: Instruments) -> None:
        self._store = store
        self._client = client
        self._instruments = instruments
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Take up what an earlier process promised."""
        for record in await self._store.find(KIND):
            ticket = ticket_of(record)
            if not ticket.over:
                self._begin(msgspec.structs.replace(ticket, status=TicketStatus.QUEUED))

    async def stop(self) -> None:
        """Stop answering; what is not answered stays stored."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def give(self, tenant: str, endpoint: Endpoint, tier: str, body: bytes, eta_s: float) -> Ticket:
        """Return a ticket that is stored; raises `ApiError` 429 when the tenant keeps too many."""
        usage = await self._store.usage(KIND, tenant)
        if usage.records >= MAX_TICKETS or usage.bytes + len(body) > MAX_BYTES:
            kept = f"{usage.records} stored requests of {usage.bytes} bytes; at most {MAX_TICKETS} and {MAX_BYTES}"
            message = f"The tenant has {kept} are kept: DELETE those at /v1/requests/ that you have read."
            raise too_many(message, "TooManyStoredRequests", 60)
        now_s = time.time()
        ticket = Ticket(
            id=f"req-{secrets.token_hex(16)}",
            tenant=tenant,
            path=endpoint.path,
            tier=tier,
            created_s=now_s,
            eta_s=eta_s,
        )
        await self._store.put(ticket.record(body))
        self._begin(ticket)
        return ticket

    async def find(self, tenant: str, ticket_id: str) -> Ticket | None:
        """Return a ticket of this tenant; those of others are not there for it."""
        record = await self._store.get(KIND, ticket_id)
        return ticket_of(record) if record is not None and record.tenant == tenant else None

    async def drop(self, ticket: Ticket) -> Ticket:
        """Cancel a ticket and forget its answer."""
        task = self._tasks.get(ticket.id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._store.delete(KIND, ticket.id)
        return ticket if ticket.over else ticket.ended(TicketStatus.CANCELLED, time.time())

    def _begin(self, ticket: Ticket) -> None:
        task = asyncio.create_task(self._answer(ticket), name=ticket.id)
        self._tasks[ticket.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(ticket.id, None))

    async def _answer(self, ticket: Ticket) -> None:
        async with self._places:
            record = await self._store.get(KIND, ticket.id)
            if record is None:
                return
            running = msgspec.structs.replace(ticket, status=TicketStatus.RUNNING)
            await self._save(running)
            ended = await self._ended(running, record.blob)
            await self._save(ended)
        if ended.status is TicketStatus.DONE:
            self._instruments.eta_kept(ticket.eta_s, ended.ended_s - ticket.created_s)

    async def _ended(self, ticket: Ticket, body: bytes) -> Ticket:
        try:
            response = await self._client.answer(
                ENDPOINTS[ticket.path],
                body,
                tenant=ticket.tenant,
                tier=ticket.tier,
                request_id=ticket.id,
                until_s=ticket.created_s + KEPT_S,
            )
        except ApiError as error:
            return ticket.ended(TicketStatus.FAILED, time.time(), error.status, error.body())
        except Exception:
            log.exception("ticket %s cannot be answered", ticket.id)
            defect = failed("The gateway could not answer this request; send it again.")
            return ticket.ended(TicketStatus.FAILED, time.time(), defect.status, defect.body())
        return ticket.ended(TicketStatus.DONE, time.time(), 200, response)

    async def _save(self, ticket: Ticket) -> None:
        await self._store.update(KIND, ticket.id, msgspec.json.encode(ticket), ticket.expires_s)
