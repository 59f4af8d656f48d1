"""What the pretended workers answer, over our frames and over HTTP alike: as many tokens as asked, one an iteration."""

import json
from typing import Final

MODEL: Final = "mock"
KEY: Final = "mock-key"
TOKEN_ID: Final = 338
"""`TOKEN_TEXT` in SmolLM2's vocabulary."""
TOKEN_TEXT: Final = " that"  # noqa: S105 - a token of text
PROMPT: Final = "Summarise in three sentences what the meeting of this morning decided, and who does what until when."


def request_body(*, stream: bool, tokens: int, number: int = 0) -> bytes:
    """Return the body of a chat request that asks for exactly `tokens` tokens.

    `number` makes its prompt its own: who remembers prompts is not to be faster here than with people.
    """
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{PROMPT} This is meeting {number}."}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
    }
    return json.dumps(body).encode()


def stream_event(content: str | None, finish_reason: str | None) -> bytes:
    """Return one server-sent event of a chat answer."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return b"data: " + json.dumps(_head("chat.completion.chunk", choice)).encode() + b"\n\n"


def whole_body(tokens: int) -> bytes:
    """Return the body of a chat answer that is not streamed."""
    message = {"role": "assistant", "content": TOKEN_TEXT * tokens, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": None}
    usage = {"prompt_tokens": 30, "completion_tokens": tokens, "total_tokens": 30 + tokens}
    return json.dumps(_head("chat.completion", choice) | {"usage": usage}).encode()


def _head(kind: str, choice: dict[str, object]) -> dict[str, object]:
    return {"id": "chatcmpl-mock", "object": kind, "created": 1_800_000_000, "model": MODEL, "choices": [choice]}
