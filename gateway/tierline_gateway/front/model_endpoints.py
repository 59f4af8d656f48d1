"""What models there are, and how they see a text."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from tierline_gateway.front.bodies import LONG_BODY_BYTES, read_body
from tierline_gateway.front.identity import Served, served_as, tenant_of, usable_adapters
from tierline_gateway.front.openai_requests import decode_request
from tierline_gateway.front.openapi import openapi_document
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.front.tokenizing import DetokenizeRequest, TokenizeRequest, detokenize, tokenize
from tierline_gateway.service import GatewayService


class ModelEndpoints:
    """The handlers of `/v1/models`, `/tokenize` and `/detokenize`."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/models", self.models)
        router.add_get("/v1/models/{model:.+}", self.model)
        router.add_get("/openapi.json", self.openapi)
        router.add_post("/tokenize", self.tokenize)
        router.add_post("/detokenize", self.detokenize)

    async def models(self, request: web.Request) -> web.Response:
        snapshot, adapters = self._service.snapshot(), self._service.adapters
        tenant = tenant_of(snapshot, request.headers)
        names = [*sorted(snapshot.policy.models), *usable_adapters(snapshot.policy, tenant, adapters)]
        listed = [self._described(name, served_as(snapshot.policy, tenant, name, adapters)) for name in names]
        return _json({"object": "list", "data": listed})

    async def model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        return _json(self._described(name, self._served(request, name)))

    async def openapi(self, _: web.Request) -> web.Response:
        """It says nothing that the documentation does not, so it needs no key."""
        return _json(openapi_document())

    async def tokenize(self, request: web.Request) -> web.Response:
        return await self._answer(request, TokenizeRequest, tokenize)

    async def detokenize(self, request: web.Request) -> web.Response:
        return await self._answer(request, DetokenizeRequest, detokenize)

    async def _answer(
        self, request: web.Request, kind: Any, compute: Callable[[PromptReader, Any], dict[str, Any]]
    ) -> web.Response:
        tenant_of(self._service.snapshot(), request.headers)
        body = await read_body(request)
        decoded = decode_request(kind, body)
        reader = self._service.fleets.of(self._served(request, decoded.model).model).prompt_reader()
        long = len(body) > LONG_BODY_BYTES
        return _json(await asyncio.to_thread(compute, reader, decoded) if long else compute(reader, decoded))

    def _served(self, request: web.Request, name: str) -> Served:
        snapshot = self._service.snapshot()
        return served_as(snapshot.policy, tenant_of(snapshot, request.headers), name, self._service.adapters)

    def _described(self, name: str, served: Served) -> dict[str, Any]:
        """Return OpenAI's object with vLLM's additions; an adapter names its model as `parent`."""
        parent = served.model.served_name if served.adapter else None
        window_tokens = self._service.fleets.of(served.model).window_tokens
        described = {"id": name, "object": "model", "created": 0, "owned_by": "tierline"}
        return described | {"root": name, "parent": parent, "max_model_len": window_tokens}


def _json(body: dict[str, Any]) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
