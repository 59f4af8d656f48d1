"""`/tokenize` and `/detokenize`, as vLLM has them: what a prompt costs before it is sent."""

from typing import Any

import msgspec

from tierline_gateway.front.api_errors import invalid
from tierline_gateway.front.openai_requests import ChatMessage, TokenId
from tierline_gateway.front.openai_tools import Tools
from tierline_gateway.front.prompts import PromptReader


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """Body of `POST /tokenize`: a prompt as it is, or messages as a chat has them."""

    model: str
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    tools: Tools | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(msgspec.Struct):
    """Body of `POST /detokenize`."""

    model: str
    tokens: list[TokenId]


def tokenize(reader: PromptReader, request: TokenizeRequest) -> dict[str, Any]:
    """Return the ids of a prompt and how many a worker can hold; raises `ApiError` 400."""
    if (request.prompt is None) == (not request.messages):
        raise invalid("prompt", "'prompt' or 'messages' is required, and only one of them; correct the body.")
    ids = _ids(reader, request)
    body: dict[str, Any] = {"count": len(ids), "max_model_len": reader.window_tokens, "tokens": ids}
    if request.return_token_strs:
        body["token_strs"] = [reader.tokenizer.backend.id_to_token(token) for token in ids]
    return body


def detokenize(reader: PromptReader, request: DetokenizeRequest) -> dict[str, Any]:
    """Return the text of ids, special tokens included; raises `ApiError` 400."""
    reader.check_ids(request.tokens, "tokens")
    return {"prompt": reader.tokenizer.backend.decode(request.tokens, skip_special_tokens=False)}


def _ids(reader: PromptReader, request: TokenizeRequest) -> tuple[int, ...]:
    if request.prompt is None:
        return reader.chat_ids(request.messages or (), [tool.told() for tool in request.tools or ()])
    encode = reader.tokenizer.encode if request.add_special_tokens else reader.tokenizer.encode_rendered
    return reader.encoded(request.prompt, "prompt", encode)
