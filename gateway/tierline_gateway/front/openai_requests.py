"""The bodies of OpenAI's requests, as far as we act on them; unknown fields are ignored as OpenAI's SDKs expect."""

import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from tierline.scheduling.queueing.queued import USER_PRIORITY_MAX
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.openai_tools import MessageToolCall, ToolChoice, Tools
from tierline_gateway.front.openai_unserved import UnservedFields

Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Repetition = Annotated[float, Meta(gt=0, le=10)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
TopLogprobs = Annotated[int, Meta(ge=0, le=20)]
Priority = Annotated[int, Meta(ge=-USER_PRIORITY_MAX, le=USER_PRIORITY_MAX)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
Choices = Annotated[int, Meta(ge=1, le=128)]
StopTokenIds = Annotated[list[TokenId], Meta(max_length=256)]
Words = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]

_PATH = re.compile(r" - at (?:`key` in )?`\$(?:\.)?(?P<path>[^`]*?)(?:\[\.\.\.\])?`$")


class StreamOptions(msgspec.Struct):
    """`stream_options` of both endpoints."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class JsonSchemaFormat(msgspec.Struct):
    """The schema of a `response_format`; `strict` or not, an answer always follows it."""

    schema: dict[str, object]
    name: str = ""
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format` of both endpoints."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StructuredOutputs(msgspec.Struct):
    """vLLM's `structured_outputs`: one of its fields says what the answer looks like."""

    json: str | dict[str, object] | None = None
    regex: str | None = None
    choice: Words | None = None
    grammar: str | None = None
    json_object: bool | None = None


class CommonFields(UnservedFields, kw_only=True):
    """What both endpoints share.

    `user` and `metadata` are for whoever sends them: nothing is made of them here. vLLM's extensions are `priority`,
    `top_k`, `min_p`, `repetition_penalty`, `min_tokens`, `stop_token_ids`, `ignore_eos`, `return_token_ids`,
    `structured_outputs` and the older `guided_*`.
    """

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    min_tokens: NotNegative | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: TopK | None = None
    min_p: Share | None = None
    n: Choices | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    stop_token_ids: StopTokenIds | None = None
    user: str | None = None
    metadata: Metadata | None = None
    priority: Priority | None = None
    ignore_eos: bool = False
    return_token_ids: bool = False
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Repetition | None = None
    logit_bias: dict[TokenId, Bias] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: str | dict[str, object] | None = None
    guided_regex: str | None = None
    guided_choice: Words | None = None
    guided_grammar: str | None = None


class ContentPart(msgspec.Struct):
    """One part of a message's content; only text is served."""

    type: str
    text: str = ""


class ChatMessage(msgspec.Struct):
    """One message of the conversation; `tool_calls` are of the assistant, `tool_call_id` is of a call's result."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    tool_call_id: str | None = None


class ChatRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    max_completion_tokens: Positive | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, object] | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None


class CompletionRequest(CommonFields, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: str | list[str | TokenId | list[TokenId]]
    echo: bool = False
    logprobs: TopLogprobs | None = None


R = TypeVar("R", bound=msgspec.Struct)


def decode_request(kind: type[R], body: bytes) -> R:
    """Decode a body; raises `ApiError` 400 naming the parameter and what it must be."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"The body is not valid JSON ({error}); send one JSON object."
        raise invalid(None, message, reason="MalformedJson") from None


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
