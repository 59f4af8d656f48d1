"""OpenAI's endpoints."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tierline.api.names import HEADER_REASON, HEADER_REQUEST_ID, HEADER_TIER
from tierline.text.token_bytes import TokenBytes
from tierline_gateway.front.answer_writer import AnswerWriter
from tierline_gateway.front.api_errors import ApiError, failed
from tierline_gateway.front.bodies import LONG_BODY_BYTES, MAX_BODY_BYTES, read_body
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.identity import request_id_of, served_as, tenant_of, tier_of
from tierline_gateway.front.model_endpoints import ModelEndpoints
from tierline_gateway.front.openai_requests import ChatRequest, CompletionRequest, decode_request
from tierline_gateway.front.openai_responses import ResponseShape
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.front.structured_output import is_structured
from tierline_gateway.service import GatewayService
from tierline_gateway.streams.answer import Answer
from tierline_gateway.streams.live import LiveRequest

log = logging.getLogger(__name__)


class OpenAIEndpoints:
    """The handlers of the client-facing port."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service

    def application(self) -> web.Application:
        """Return the application with all routes; errors leave it as OpenAI error objects."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[answer_errors])
        app.router.add_post("/v1/chat/completions", self.chat_completions)
        app.router.add_post("/v1/completions", self.completions)
        ModelEndpoints(self._service).add_routes(app.router)
        return app

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, ChatRequest, PromptReader.chat)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, CompletionRequest, PromptReader.completion)

    async def _generate(
        self, request: web.Request, kind: Any, read_prompt: Callable[[PromptReader, Any], Generation]
    ) -> web.StreamResponse:
        arrival_ms = self._service.clock_ms()
        # Nothing is read from who has no key; and while a body comes, its tenant's limits may change.
        tenant_of(self._service.snapshot(), request.headers)
        body = await read_body(request)
        snapshot = self._service.snapshot()
        tenant = tenant_of(snapshot, request.headers)
        decoded = decode_request(kind, body)
        served = served_as(snapshot.policy, tenant, decoded.model, self._service.links.adapters)
        tier = tier_of(snapshot.policy, tenant, served.model, request.headers)
        # Long prompts take long to tokenise, grammars to check; both free the interpreter meanwhile.
        long = len(body) > LONG_BODY_BYTES or is_structured(decoded)
        reader = self._service.prompt_reader(served.model)
        generation = await asyncio.to_thread(read_prompt, reader, decoded) if long else read_prompt(reader, decoded)
        live = LiveRequest.begin(
            request_id=self._unused_id(request_id_of(request.headers)),
            generation=generation,
            tenant=tenant,
            tier=tier,
            decode=reader.tokenizer.decode,
            text_of=reader.tokenizer.texts.of,
            now_ms=arrival_ms,
            adapter=served.adapter,
        )
        return await self._answer(request, live, chat=kind is ChatRequest)

    async def _answer(self, request: web.Request, live: LiveRequest, chat: bool) -> web.StreamResponse:
        generation, tokenizer = live.generation, self._service.prompt_reader().tokenizer
        shape = ResponseShape(live.request_id, generation, TokenBytes(tokenizer), created_s=int(time.time()), chat=chat)
        choices = [live]
        try:
            self._service.dispatcher.admit(live, self._service.degraded)
            # Only now it has its tier, which admission may lower.
            headers = {HEADER_REQUEST_ID: live.request_id, HEADER_TIER: live.tier.name}
            choices += (
                live.fork(choice, tokenizer.decode, tokenizer.texts.of) for choice in range(1, generation.choices)
            )
            if len(choices) > 1:
                self._service.dispatcher.join(live, tuple(choices[1:]))
            writer = AnswerWriter(Answer(tuple(choices), live.news), shape, headers, self._service.delivered)
            return await (writer.write_stream(request) if generation.stream else writer.write_whole())
        finally:
            for choice in reversed(choices):
                self._service.conclude(choice)

    def _unused_id(self, request_id: str) -> str:
        """Keep a client's id unless it is in use: on the wire and in the log an id stands for one request."""
        if self._service.dispatcher.find(request_id) is None and request_id not in self._service.requests:
            return request_id
        return f"{request_id[:100]}-{secrets.token_hex(6)}"


@web.middleware
async def answer_errors(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Turn every refusal into OpenAI's error object with `x-tierline-reason` and the request's id."""
    try:
        response: web.StreamResponse = await handler(request)
    except ApiError as error:
        return _refusal(request, error)
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
        return ApiError(404, message, "NotFound", code="not_found")
    return ApiError(error.status, f"{request.method} {request.path}: {error.reason}.", "InvalidRequest")


def _refusal(request: web.Request, error: ApiError) -> web.Response:
    headers = {HEADER_REASON: error.reason, HEADER_REQUEST_ID: request_id_of(request.headers)}
    if error.retry_after_s:
        headers["Retry-After"] = str(error.retry_after_s)
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=headers)
