"""The OpenAPI document of the client-facing port, made from the very structs that requests are decoded with."""

import re
from typing import Any

import msgspec

from tierline.api.names import HEADER_REASON, HEADER_REQUEST_ID, HEADER_TIER
from tierline_gateway.batches.batch_request import BatchRequest
from tierline_gateway.front.openai_requests import ChatRequest, CompletionRequest
from tierline_gateway.front.tokenizing import DetokenizeRequest, TokenizeRequest

_BODIES: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "/v1/chat/completions": ("The answer to a conversation", ChatRequest),
    "/v1/completions": ("The continuation of a prompt", CompletionRequest),
    "/v1/batches": ("A batch of the requests in a file", BatchRequest),
    "/tokenize": ("The ids of a prompt", TokenizeRequest),
    "/detokenize": ("The text of ids", DetokenizeRequest),
}
_READS = {
    "/v1/models": "The models and adapters that the tenant may name",
    "/v1/models/{model}": "One of them",
    "/v1/files": "The tenant's files",
    "/v1/files/{file}": "One of them",
    "/v1/files/{file}/content": "What is in it",
    "/v1/batches": "The tenant's batches",
    "/v1/batches/{batch}": "One of them",
    "/v1/requests/{ticket}": "A stored request, and its answer once it is there",
}
_IN_PATH = re.compile(r"\{(\w+)\}")
_SCHEMAS = "#/components/schemas/{name}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def openapi_document() -> dict[str, Any]:
    """Return the document, version 3.1; what a request may hold is said in full, answers are OpenAI's."""
    kinds = [kind for _, kind in _BODIES.values()]
    _, schemas = msgspec.json.schema_components(kinds, schema_hook=_of_anything, ref_template=_SCHEMAS)
    paths = {path: {"post": _operation(summary, kind)} for path, (summary, kind) in _BODIES.items()}
    for path, summary in _READS.items():
        reading = _operation(summary)
        reading["parameters"] += [_parameter("path", name, required=True) for name in _IN_PATH.findall(path)]
        paths[path] = paths.get(path, {}) | {"get": reading}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tierline gateway", "version": "1", "description": "See docs/requests.md."},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas | {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _of_anything(_: type) -> dict[str, Any]:
    """What may be anything: inside of schemas and templates' variables, and what is refused anyway."""
    return {"description": "Anything"}


def _operation(summary: str, body: type[msgspec.Struct] | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [_parameter("header", HEADER_TIER), _parameter("header", HEADER_REQUEST_ID)],
        "responses": {
            "200": {"description": "As OpenAI's"},
            "default": {
                "description": "A refusal",
                "headers": {HEADER_REASON: {"schema": {"type": "string"}}},
                "content": _json_content("Error"),
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json_content(body.__name__)}
    return operation


def _parameter(place: str, name: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}


def _json_content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _SCHEMAS.format(name=schema)}}}
