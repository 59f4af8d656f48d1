"""The bodies of OpenAI's requests, as far as we act on them; unknown fields are ignored as OpenAI's SDKs expect."""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from tierline_gateway.front.api_errors import ApiError, invalid

Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Positive = Annotated[int, Meta(ge=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
StopTokenIds = Annotated[list[TokenId], Meta(max_length=256)]

MAX_STOPS = 16
_PATH = re.compile(r" - at `\$(?:\.)?(?P<path>[^`]*)`$")


class StreamOptions(msgspec.Struct):
    """`stream_options` of both endpoints."""

    include_usage: bool = False


class CommonFields(msgspec.Struct, kw_only=True):
    """What both endpoints share. `ignore_eos`, `return_token_ids`, `top_k`, `stop_token_ids` are vLLM's extensions."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    n: int | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    stop_token_ids: StopTokenIds | None = None
    user: str | None = None
    ignore_eos: bool = False
    return_token_ids: bool = False
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None


class ContentPart(msgspec.Struct):
    """One part of a message's content; only text is served."""

    type: str
    text: str = ""


class ChatMessage(msgspec.Struct):
    """One message of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None


class ChatRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    max_completion_tokens: Positive | None = None
    tools: list[msgspec.Raw] | None = None
    logprobs: bool | None = None
    response_format: dict[str, object] | None = None


class CompletionRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: str | list[str | TokenId | list[TokenId]]
    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None
    logprobs: int | None = None


R = TypeVar("R", ChatRequest, CompletionRequest)


def decode_request(kind: type[R], body: bytes) -> R:
    """Decode a body; raises `ApiError` 400 naming the parameter and what it must be."""
    try:
        request = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The body is not valid JSON ({error}); send one JSON object."
        raise invalid(None, message, reason="MalformedJson") from None
    _refuse_unserved(request)
    return request


def stop_strings(request: CommonFields) -> tuple[str, ...]:
    """Return the stop strings; raises `ApiError` when there are too many or one is empty."""
    given = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(given) > MAX_STOPS:
        raise invalid("stop", f"'stop' holds {len(given)} strings; send at most {MAX_STOPS}.")
    if not all(given):
        raise invalid("stop", "'stop' holds an empty string, which would end every answer; remove it.")
    return tuple(given)


def _named(error: str) -> ApiError:
    """Turn the decoder's words into OpenAI's: the parameter's path, and what is wrong with it."""
    found = _PATH.search(error)
    path = found["path"] if found else ""
    problem = _PATH.sub("", error)
    missing = re.search(r"missing required field `(?P<name>[^`]+)`", problem)
    if missing:
        name = f"{path}.{missing['name']}" if path else missing["name"]
        return invalid(name, f"'{name}' is required; add it to the body.", code="missing_required_parameter")
    if not path:
        return invalid(None, f"The body has the wrong shape: {problem}; send one JSON object.")
    return invalid(path, f"'{path}' is wrong: {problem}. Correct its type or value.", code="invalid_value")


def _refuse_unserved(request: ChatRequest | CompletionRequest) -> None:
    """Refuse what would change the answer but is not served, instead of ignoring it silently."""
    if request.n not in (None, 1):
        raise invalid("n", f"'n' is {request.n}; only one answer a request is served: set n to 1.", "unsupported_value")
    unserved: dict[str, bool] = {
        "presence_penalty": bool(request.presence_penalty),
        "frequency_penalty": bool(request.frequency_penalty),
        "logprobs": bool(request.logprobs),
    }
    if isinstance(request, ChatRequest):
        unserved["tools"] = bool(request.tools)
        unserved["response_format"] = (request.response_format or {}).get("type", "text") != "text"
    else:
        unserved["suffix"] = bool(request.suffix)
        unserved["best_of"] = request.best_of not in (None, 1)
    for name, asked in unserved.items():
        if asked:
            raise invalid(name, f"'{name}' is not served yet; leave it out.", "unsupported_parameter")
