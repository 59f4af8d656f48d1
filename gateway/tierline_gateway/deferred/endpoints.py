"""How clients get answers later: `Prefer: respond-async`, and `/v1/requests/{id}`."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from tierline_gateway.deferred.ticket import Ticket
from tierline_gateway.deferred.tickets import Tickets
from tierline_gateway.front.api_errors import ApiError
from tierline_gateway.front.identity import tenant_of
from tierline_gateway.front.intake import Endpoint
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.live import LiveRequest

HEADER_PREFER = "Prefer"
RESPOND_ASYNC = "respond-async"
PATH = "/v1/requests/"


class DeferredEndpoints:
    """The handlers of stored requests."""

    def __init__(self, service: GatewayService, tickets: Tickets) -> None:
        self._service = service
        self._tickets = tickets

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get(PATH + "{ticket}", self.ticket)
        router.add_delete(PATH + "{ticket}", self.delete)

    def wanted(self, headers: Mapping[str, str], live: LiveRequest) -> bool:
        """Whether the client would rather be told where to fetch the answer (RFC 7240); nothing streams from there."""
        preferences = headers.get(HEADER_PREFER, "").lower().split(",")
        return not live.generation.stream and any(each.strip() == RESPOND_ASYNC for each in preferences)

    async def accept(self, live: LiveRequest, endpoint: Endpoint, body: bytes) -> web.Response:
        """Store a request and answer 202; raises `ApiError` when its tier or its tenant's quota refuses it now."""
        eta_ms = self._service.fleet_of(live).dispatcher.judge(live, self._service.degraded)
        tier = live.tier.name
        ticket = await self._tickets.give(live.tenant.tenant, endpoint, tier, body, eta_ms / 1000)
        told = {"Location": PATH + ticket.id, "Preference-Applied": RESPOND_ASYNC}
        return _shown(ticket, ticket.created_s, 202, told)

    async def ticket(self, request: web.Request) -> web.Response:
        ticket = await self._found(request)
        return _shown(ticket, time.time())

    async def delete(self, request: web.Request) -> web.Response:
        ticket = await self._tickets.drop(await self._found(request))
        return _shown(ticket, time.time())

    async def _found(self, request: web.Request) -> Ticket:
        tenant = tenant_of(self._service.snapshot(), request.headers)
        ticket_id = request.match_info["ticket"]
        ticket = await self._tickets.find(tenant.tenant, ticket_id)
        if ticket is None:
            message = f"There is no stored request {ticket_id!r} of this tenant; it is kept for a day after its end."
            raise ApiError(404, message, "RequestNotFound", code="request_not_found")
        return ticket


def _shown(ticket: Ticket, now_s: float, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    told: dict[str, Any] = dict(headers or {})
    if not ticket.over:
        told["Retry-After"] = str(ticket.retry_after_s(now_s))
    body = msgspec.json.encode(ticket.shown())
    return web.Response(status=status, body=body, content_type="application/json", headers=told)
