"""Log probabilities in OpenAI's shapes, for chats and for completions."""

from collections.abc import Sequence
from typing import Any, Protocol

from tierline.text.token_bytes import TokenBytes
from tierline.wire.frames import TokenLogprobs


class LogprobsShape(Protocol):
    """Shapes one choice's log probabilities, piece by piece."""

    def shape(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]: ...


class ChatLogprobs:
    """`choices[].logprobs` of a chat: each token with its bytes and the most probable ones at its place."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._bytes = token_bytes

    def shape(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
        pairs = zip(token_ids, logprobs, strict=True)
        return {"content": [self._token(token, told) for token, told in pairs], "refusal": None}

    def _token(self, token_id: int, told: TokenLogprobs) -> dict[str, Any]:
        top = [self._entry(token, value) for token, value in told.top]
        return self._entry(token_id, told.logprob) | {"top_logprobs": top}

    def _entry(self, token_id: int, logprob: float) -> dict[str, Any]:
        raw = self._bytes.of(token_id)
        return {"token": raw.decode(errors="replace"), "logprob": logprob, "bytes": list(raw)}


class CompletionLogprobs:
    """`choices[].logprobs` of a completion: parallel lists; its text begins at character `offset`."""

    def __init__(self, token_bytes: TokenBytes, offset: int) -> None:
        self._bytes = token_bytes
        self._offset = offset

    def shape(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
        tokens, offsets = [self._text(token) for token in token_ids], []
        for text in tokens:
            offsets.append(self._offset)
            self._offset += len(text)
        pairs = list(zip(token_ids, logprobs, strict=True))
        return {
            "tokens": tokens,
            "token_logprobs": [told.logprob for _, told in pairs],
            "top_logprobs": [self._top(token, told) for token, told in pairs],
            "text_offset": offsets,
        }

    def _top(self, token_id: int, told: TokenLogprobs) -> dict[str, float]:
        """Return the best ones and, as OpenAI has it, the chosen one even if it is not among them."""
        return {self._text(token): value for token, value in (*told.top, (token_id, told.logprob))}

    def _text(self, token_id: int) -> str:
        """Return the token's text; a part of a character is spelled as OpenAI does, so that two do not look alike."""
        raw = self._bytes.of(token_id)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
