"""OpenAI's endpoints."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from tierline.api.names import HEADER_REASON, HEADER_REQUEST_ID
from tierline_gateway.deferred.store import StoreUnavailable
from tierline_gateway.front.api_errors import ApiError, failed, unavailable
from tierline_gateway.front.bodies import MAX_BODY_BYTES, read_body
from tierline_gateway.front.identity import request_id_of, tenant_of
from tierline_gateway.front.intake import CHAT, COMPLETIONS, Endpoint, Intake
from tierline_gateway.front.model_endpoints import ModelEndpoints
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.live import LiveRequest

log = logging.getLogger(__name__)

_KEPT_PATHS = ("/v1/requests", "/v1/files", "/v1/batches")


class AnswersLater(Protocol):
    """What takes requests whose clients do not wait, with routes of its own."""

    def add_routes(self, router: web.UrlDispatcher) -> None: ...

    def wanted(self, headers: Mapping[str, str], live: LiveRequest) -> bool: ...

    async def accept(self, live: LiveRequest, endpoint: Endpoint, body: bytes) -> web.Response: ...


class OpenAIEndpoints:
    """The handlers of the client-facing port; without `later` nothing is answered later."""

    def __init__(self, service: GatewayService, later: AnswersLater | None = None) -> None:
        self._service = service
        self._intake = Intake(service)
        self._later = later

    def application(self) -> web.Application:
        """Return the application with all routes; errors leave it as OpenAI error objects."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[answer_errors])
        app.router.add_post(CHAT.path, self.chat_completions)
        app.router.add_post(COMPLETIONS.path, self.completions)
        ModelEndpoints(self._service).add_routes(app.router)
        if self._later is not None:
            self._later.add_routes(app.router)
        return app

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, CHAT)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, COMPLETIONS)

    async def _generate(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        # Nothing is read from who has no key; and while a body comes, its tenant's limits may change.
        before = self._service.snapshot()
        tenant = tenant_of(before, request.headers)
        body = await read_body(request)
        snapshot = self._service.snapshot()
        if snapshot is not before:
            tenant = tenant_of(snapshot, request.headers)
        live = await self._intake.read(endpoint, body, tenant, request.headers, request_id_of(request.headers))
        if self._later is not None and self._later.wanted(request.headers, live):
            return await self._later.accept(live, endpoint, body)
        with self._intake.admitted(live, endpoint) as writer:
            return await (writer.write_stream(request) if live.generation.stream else writer.write_whole())


@web.middleware
async def answer_errors(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Turn every refusal into OpenAI's error object with `x-tierline-reason` and the request's id."""
    try:
        response: web.StreamResponse = await handler(request)
    except ApiError as error:
        return _refusal(request, error)
    except StoreUnavailable as error:
        log.error("%s %s: %s", request.method, request.path, error)
        return _refusal(request, unavailable("What is answered later cannot be reached now; try again.", "NoStore", 5))
    except web.HTTPException as error:
        return _refusal(request, _from_http(request, error))
    except ConnectionError:
        raise
    except Exception:
        log.exception("request to %s failed", request.path)
        return _refusal(request, failed("The gateway failed; the error is in its log."))
    return response


def _from_http(request: web.Request, error: web.HTTPException) -> ApiError:
    if error.status == web.HTTPRequestEntityTooLarge.status_code:
        limit = MAX_BODY_BYTES // (1024 * 1024)
        return ApiError(413, f"The body is over {limit} MiB; shorten it.", "BodyTooLarge", code="body_too_large")
    if error.status == web.HTTPNotFound.status_code:
        message = f"{request.path} is not served; use /v1/chat/completions, /v1/completions or /v1/models."
        if request.path.startswith(_KEPT_PATHS):
            message = f"{request.path} is not served: this fleet keeps no answers; see spec.gateway.storedAnswers."
        return ApiError(404, message, "NotFound", code="not_found")
    return ApiError(error.status, f"{request.method} {request.path}: {error.reason}.", "InvalidRequest")


def _refusal(request: web.Request, error: ApiError) -> web.Response:
    headers = {HEADER_REASON: error.reason, HEADER_REQUEST_ID: request_id_of(request.headers)}
    if error.retry_after_s:
        headers["Retry-After"] = str(error.retry_after_s)
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=headers)
