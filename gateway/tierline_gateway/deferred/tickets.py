"""Keeps tickets: stores them before they are given, and has them answered by whichever process holds them."""

import logging
import secrets
import time
from dataclasses import replace

import msgspec

from tierline_gateway.deferred.holding import Holding
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import Record, RecordStore
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
    """All tickets that are kept in one store; `holder` names this process among those that share it."""

    def __init__(self, store: RecordStore, holder: str, client: PatientClient, instruments: Instruments) -> None:
        self._store = store
        self._client = client
        self._instruments = instruments
        self.holding = Holding(store, KIND, holder, AT_ONCE, self._answer)

    async def give(self, tenant: str, endpoint: Endpoint, tier: str, body: bytes, eta_s: float) -> Ticket:
        """Return a ticket that is stored; raises `ApiError` 429 when the tenant keeps too many."""
        usage = await self._store.usage(tenant, KIND)
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
        await self.holding.put(ticket.record(body))
        return ticket

    async def find(self, tenant: str, ticket_id: str) -> Ticket | None:
        """Return a ticket of this tenant; those of others are not there for it."""
        record = await self._store.get(KIND, ticket_id)
        return ticket_of(record) if record is not None and record.tenant == tenant else None

    async def drop(self, ticket: Ticket) -> Ticket:
        """Cancel a ticket and forget its answer; another process that holds it learns of it with its next turn."""
        await self.holding.drop(ticket.id)
        await self._store.delete(KIND, ticket.id)
        return ticket if ticket.over else ticket.ended(TicketStatus.CANCELLED, time.time())

    async def _answer(self, taken: Record) -> None:
        record = await self._store.get(KIND, taken.id)
        if record is None or (ticket := ticket_of(record)).over:
            return
        running = msgspec.structs.replace(ticket, status=TicketStatus.RUNNING)
        told = replace(record, document=msgspec.json.encode(running))
        if not await self._store.replace(told, record.document):
            return
        ended = await self._ended(running, record.blob)
        end = Record(KIND, ended.id, ended.tenant, msgspec.json.encode(ended), expires_s=ended.expires_s)
        if await self._store.replace(end, told.document) and ended.status is TicketStatus.DONE:
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
