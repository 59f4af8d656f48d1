"""vLLM's endpoints for adapters at run time: `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`; and a list of them.

They ask nobody who they are: this port is for the cluster (probes, metrics, the operator), never for clients, who come
in through the gateway. What a caller may have read is limited to the worker's allowed sources.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web

from tierline_worker.adapters.loading import AdapterLoader, AdapterRefused

MAX_BODY_BYTES = 64 * 1024


class LoadRequest(msgspec.Struct):
    """Body of a load. `load_inplace` lets it take the place of an adapter of the same name."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadRequest(msgspec.Struct):
    """Body of an unload."""

    lora_name: str


R = TypeVar("R", LoadRequest, UnloadRequest)


def add_adapter_routes(app: web.Application, loader: Callable[[], AdapterLoader | None]) -> None:
    """Serve both endpoints; `loader` gives None before the model is there."""

    async def load(request: web.Request) -> web.Response:
        try:
            body = await _decoded(request, LoadRequest)
            await _ready(loader).load(body.lora_name, body.lora_path, body.load_inplace)
        except AdapterRefused as error:
            return _refusal(error)
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload(request: web.Request) -> web.Response:
        try:
            body = await _decoded(request, UnloadRequest)
            await _ready(loader).unload(body.lora_name)
        except AdapterRefused as error:
            return _refusal(error)
        return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def served(_request: web.Request) -> web.Response:
        try:
            listed = await _ready(loader).served()
        except AdapterRefused as error:
            return _refusal(error)
        told = [
            {"lora_name": it.name, "lora_path": source, "resident": it.resident, "in_use": it.in_use}
            for it, source in listed
        ]
        return web.json_response({"adapters": told})

    app.router.add_get("/v1/lora_adapters", served)
    app.router.add_post("/v1/load_lora_adapter", load)
    app.router.add_post("/v1/unload_lora_adapter", unload)


def _ready(loader: Callable[[], AdapterLoader | None]) -> AdapterLoader:
    found = loader()
    if found is None:
        raise AdapterRefused("The model is being loaded; try again.", 503)
    return found


async def _decoded(request: web.Request, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AdapterRefused(f"The body is not what it must be: {error}; send one JSON object.") from error


def _refusal(error: AdapterRefused) -> web.Response:
    kind = HTTPStatus(error.status).phrase.replace(" ", "") + "Error"
    body = {"error": {"message": str(error), "type": kind, "param": None, "code": error.status}}
    return web.Response(status=error.status, body=msgspec.json.encode(body), content_type="application/json")
