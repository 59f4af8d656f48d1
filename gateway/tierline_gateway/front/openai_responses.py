"""Answers in OpenAI's shapes, for both endpoints, streamed and whole."""

from dataclasses import dataclass
from typing import Any

from tierline_gateway.front.generation import Generation


@dataclass(frozen=True, slots=True)
class ResponseShape:
    """Builds the objects of one answer. `created_s` is epoch seconds, as OpenAI has it."""

    request_id: str
    generation: Generation
    created_s: int
    chat: bool

    def whole(self, text: str, token_ids: list[int], finish_reason: str) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = self.generation.echo_text + text
        body = self._head("chat.completion", [choice]) | {"usage": self.usage(len(token_ids))}
        return self._with_ids(body, choice, token_ids, prompt=True)

    def first_chunk(self) -> dict[str, Any]:
        """Return what opens a stream: the role, or the echoed prompt."""
        body = self._chunk("", None, {"role": "assistant", "content": ""}, self.generation.echo_text)
        return self._with_ids(body, body["choices"][0], [], prompt=True)

    def chunk(self, text: str, token_ids: tuple[int, ...]) -> dict[str, Any]:
        body = self._chunk(text, None, {"content": text}, text)
        return self._with_ids(body, body["choices"][0], list(token_ids))

    def last_chunk(self, finish_reason: str) -> dict[str, Any]:
        return self._chunk("", finish_reason, {}, "")

    def usage_chunk(self, completion_tokens: int) -> dict[str, Any]:
        """Return the chunk that `stream_options.include_usage` asks for."""
        return self._head("chat.completion.chunk", []) | {"usage": self.usage(completion_tokens)}

    def usage(self, completion_tokens: int) -> dict[str, int]:
        prompt_tokens = len(self.generation.prompt_ids)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }

    def _chunk(self, text: str, finish_reason: str | None, delta: dict[str, str], plain: str) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        choice |= {"delta": delta} if self.chat else {"text": plain}
        body = self._head("chat.completion.chunk", [choice])
        return body | {"usage": None} if self.generation.include_usage else body

    def _head(self, chat_object: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {
            "id": f"{prefix}-{self.request_id}",
            "object": chat_object if self.chat else "text_completion",
            "created": self.created_s,
            "model": self.generation.model,
            "choices": choices,
        }

    def _with_ids(
        self, body: dict[str, Any], choice: dict[str, Any], token_ids: list[int], prompt: bool = False
    ) -> dict[str, Any]:
        """Add ids where vLLM puts them, when the client asked for them."""
        if self.generation.return_token_ids:
            choice["token_ids"] = token_ids
            if prompt:
                (body if self.chat else choice)["prompt_token_ids"] = list(self.generation.prompt_ids)
        return body
