"""Answers in OpenAI's shapes, for both endpoints, streamed and whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tierline.text.token_bytes import TokenBytes
from tierline.wire.frames import TokenLogprobs
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.openai_deltas import ChatDeltas, TextDeltas, ToolDeltas
from tierline_gateway.front.openai_logprobs import ChatLogprobs, CompletionLogprobs, LogprobsShape
from tierline_gateway.streams.live import Piece


@dataclass(slots=True)
class WholeChoice:
    """One choice of an answer that is not streamed, while it is collected."""

    texts: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: str = ""

    def add(self, piece: Piece) -> None:
        self.texts.append(piece.text)
        self.token_ids.extend(piece.token_ids)
        self.logprobs.extend(piece.logprobs)


class ResponseShape:
    """Builds the objects of one answer. `created_s` is epoch seconds, as OpenAI has it."""

    def __init__(
        self, request_id: str, generation: Generation, token_bytes: TokenBytes, *, created_s: int, chat: bool
    ) -> None:
        self.generation = generation
        self._request_id = request_id
        self._created_s = created_s
        self._chat = chat
        self._told_tokens = 0
        self._logprobs: list[LogprobsShape] = [
            ChatLogprobs(token_bytes) if chat else CompletionLogprobs(token_bytes, len(generation.echo_text))
            for _ in range(generation.choices)
        ]
        tools = generation.tools
        self._deltas: list[ChatDeltas] = [
            ToolDeltas(tools, request_id, choice) if tools else TextDeltas() for choice in range(generation.choices)
        ]

    def whole(self, choices: Sequence[WholeChoice]) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        shaped = [self._whole_choice(index, choice) for index, choice in enumerate(choices)]
        tokens = sum(len(choice.token_ids) for choice in choices)
        body = self._head("chat.completion", shaped) | {"usage": self.usage(tokens)}
        return self._with_prompt_ids(body)

    def first_chunk(self, index: int) -> dict[str, Any]:
        """Return what opens a choice of a stream: the role, or the echoed prompt."""
        opening = Piece(self.generation.echo_text, ())
        return self._with_prompt_ids(self._chunk(index, opening, {"role": "assistant", "content": ""}))

    def chunks(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """Return what a piece tells the client; ids and log probabilities come once, with its first chunk."""
        self._told_tokens += len(piece.token_ids)
        deltas = self._deltas[index].of(piece.text) if self._chat else [{}] * bool(piece.text)
        if not deltas and not piece.logprobs and not (self.generation.return_token_ids and piece.token_ids):
            return []
        first, *more = deltas or [{}]
        return [self._chunk(index, piece, first), *(self._chunk(index, Piece("", ()), delta) for delta in more)]

    def last_chunks(self, index: int, finish_reason: str) -> list[dict[str, Any]]:
        """Return what ends a choice: text that was held back, and why it ended."""
        empty, deltas = Piece("", ()), self._deltas[index]
        *rest, last = (self._chunk(index, empty, delta) for delta in (*deltas.rest(), {}))
        last["choices"][0]["finish_reason"] = deltas.finish_reason(finish_reason)
        last["choices"][0].pop("token_ids", None)
        return [*rest, last]

    def usage_chunk(self, completion_tokens: int) -> dict[str, Any]:
        """Return the chunk that `stream_options.include_usage` asks for."""
        return self._head("chat.completion.chunk", []) | {"usage": self.usage(completion_tokens)}

    def usage(self, completion_tokens: int) -> dict[str, int]:
        """Return what is billed: the prompt once, the tokens of every choice."""
        prompt_tokens = len(self.generation.prompt_ids)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }

    def _whole_choice(self, index: int, choice: WholeChoice) -> dict[str, Any]:
        text = "".join(choice.texts)
        shaped = self._choice(index, Piece(text, tuple(choice.token_ids), tuple(choice.logprobs)), choice.finish_reason)
        if not self._chat:
            return shaped | {"text": self.generation.echo_text + text}
        deltas = self._deltas[index]
        message = {"role": "assistant", "refusal": None} | deltas.message(text)
        return shaped | {"message": message, "finish_reason": deltas.finish_reason(choice.finish_reason)}

    def _chunk(self, index: int, piece: Piece, delta: dict[str, Any]) -> dict[str, Any]:
        choice = self._choice(index, piece, None) | ({"delta": delta} if self._chat else {"text": piece.text})
        body = self._head("chat.completion.chunk", [choice])
        if not self.generation.include_usage:
            return body
        return body | {"usage": self.usage(self._told_tokens) if self.generation.continuous_usage else None}

    def _choice(self, index: int, piece: Piece, finish_reason: str | None) -> dict[str, Any]:
        told = self._logprobs[index].shape(piece.token_ids, piece.logprobs) if piece.logprobs else None
        choice: dict[str, Any] = {"index": index, "finish_reason": finish_reason, "logprobs": told}
        # Where vLLM puts them, when the client asked for them.
        return choice | {"token_ids": list(piece.token_ids)} if self.generation.return_token_ids else choice

    def _head(self, chat_object: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        prefix = "chatcmpl" if self._chat else "cmpl"
        return {
            "id": f"{prefix}-{self._request_id}",
            "object": chat_object if self._chat else "text_completion",
            "created": self._created_s,
            "model": self.generation.model,
            "choices": choices,
        }

    def _with_prompt_ids(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.generation.return_token_ids:
            for holder in [body] if self._chat else body["choices"]:
                holder["prompt_token_ids"] = list(self.generation.prompt_ids)
        return body
