"""`/v1/batches`, as OpenAI's SDKs call it."""

import re
from typing import Any

import msgspec
from aiohttp import web

from tierline.api.policy import TenantPolicy
from tierline_gateway.batches.batch import Batch
from tierline_gateway.batches.batch_request import BatchRequest
from tierline_gateway.batches.batch_tier import batch_tier
from tierline_gateway.batches.batches import Asked, Batches
from tierline_gateway.batches.pages import page_of
from tierline_gateway.batches.stored_file import kept_seconds
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.bodies import read_body
from tierline_gateway.front.identity import tenant_of
from tierline_gateway.front.intake import ENDPOINTS
from tierline_gateway.front.openai_requests import decode_request
from tierline_gateway.service import GatewayService

PATH = "/v1/batches"
LONGEST_WINDOW_HOURS = 168
_WINDOW = re.compile(r"([1-9]\d{0,2})h")


class BatchEndpoints:
    """The handlers of batches."""

    def __init__(self, service: GatewayService, batches: Batches) -> None:
        self._service = service
        self._batches = batches

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post(PATH, self.create)
        router.add_get(PATH, self.owned)
        router.add_get(PATH + "/{batch}", self.batch)
        router.add_post(PATH + "/{batch}/cancel", self.cancel)

    async def create(self, request: web.Request) -> web.Response:
        self._tenant(request)
        decoded = decode_request(BatchRequest, await read_body(request))
        tenant = self._tenant(request)
        asked = self._asked(decoded, tenant, request)
        return _json(await self._batches.create(tenant.tenant, asked))

    async def owned(self, request: web.Request) -> web.Response:
        batches = await self._batches.registry.owned(self._tenant(request).tenant)
        return web.json_response(page_of(batches, request.query, 20, 100), dumps=_text)

    async def batch(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request)
        return _json(await self._batches.registry.find(request.match_info["batch"], tenant.tenant), request)

    async def cancel(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request)
        return _json(await self._batches.cancel(tenant.tenant, request.match_info["batch"]), request)

    def _tenant(self, request: web.Request) -> TenantPolicy:
        return tenant_of(self._service.snapshot(), request.headers)

    def _asked(self, decoded: BatchRequest, tenant: TenantPolicy, request: web.Request) -> Asked:
        if decoded.endpoint not in ENDPOINTS:
            raise invalid("endpoint", f"'endpoint' is {decoded.endpoint!r}; use one of: {', '.join(ENDPOINTS)}.")
        policy = self._service.snapshot().policy
        return Asked(
            endpoint=decoded.endpoint,
            input_file_id=decoded.input_file_id,
            tier=batch_tier(policy, tenant, request.headers, decoded.metadata or {}),
            window=decoded.completion_window,
            window_s=_window_s(decoded.completion_window),
            kept_seconds=_kept_seconds(decoded),
            metadata=decoded.metadata,
        )


def _window_s(window: str) -> float:
    found = _WINDOW.fullmatch(window)
    if found is None or int(found[1]) > LONGEST_WINDOW_HOURS:
        allowed = f"it must be 24h, or any number of hours up to {LONGEST_WINDOW_HOURS}h"
        raise invalid("completion_window", f"'completion_window' is {window!r}; {allowed}.")
    return int(found[1]) * 3600.0


def _kept_seconds(decoded: BatchRequest) -> float:
    try:
        return kept_seconds("output_expires_after", decoded.output_expires_after)
    except ValueError as error:
        raise invalid("output_expires_after", str(error)) from None


def _text(body: Any) -> str:
    return msgspec.json.encode(body).decode()


def _json(batch: Batch | None, request: web.Request | None = None) -> web.Response:
    if batch is None:
        asked = request.match_info["batch"] if request is not None else ""
        message = f"There is no batch {asked!r} of this tenant; it is kept for 30 days after its window."
        raise ApiError(404, message, "BatchNotFound", param="batch_id", code="batch_not_found")
    return web.json_response(batch.shown(), dumps=_text)
