"""What a chat's chunks and messages say: text, or calls of functions found in it."""

from typing import Any, Protocol

from tierline.text.tools.parser import CallDelta, Delta
from tierline_gateway.front.tool_use import ToolUse


class ChatDeltas(Protocol):
    """Shapes the text of one choice, as it comes or at once."""

    def of(self, text: str) -> list[dict[str, Any]]: ...

    def rest(self) -> list[dict[str, Any]]: ...

    def message(self, text: str) -> dict[str, Any]: ...

    def finish_reason(self, reason: str) -> str: ...


class TextDeltas:
    """An answer without tools."""

    def of(self, text: str) -> list[dict[str, Any]]:
        return [{"content": text}] if text else []

    def rest(self) -> list[dict[str, Any]]:
        return []

    def message(self, text: str) -> dict[str, Any]:
        return {"content": text}

    def finish_reason(self, reason: str) -> str:
        return reason


class ToolDeltas:
    """An answer that may call functions. A call's name comes in a chunk of its own, then pieces of its arguments."""

    def __init__(self, use: ToolUse, request_id: str, choice: int) -> None:
        self._use = use
        self._request_id = request_id
        self._choice = choice
        self._parser = use.parser()

    def of(self, text: str) -> list[dict[str, Any]]:
        return [self._shaped(delta) for delta in self._parser.feed(text)]

    def rest(self) -> list[dict[str, Any]]:
        return [self._shaped(delta) for delta in self._parser.finish()]

    def message(self, text: str) -> dict[str, Any]:
        """Return content and calls of a whole answer."""
        content, calls = "", list[dict[str, Any]]()
        for delta in (*self._parser.feed(text), *self._parser.finish()):
            if isinstance(delta, str):
                content += delta
            elif delta.name:
                calls.append(self._call(delta))
            else:
                calls[delta.index]["function"]["arguments"] += delta.arguments
        return {"content": content or None, "tool_calls": calls} if calls else {"content": content}

    def finish_reason(self, reason: str) -> str:
        return "tool_calls" if self._parser.calls and reason == "stop" else reason

    def _shaped(self, delta: Delta) -> dict[str, Any]:
        if isinstance(delta, str):
            return {"content": delta}
        if delta.name:
            return {"tool_calls": [{"index": delta.index} | self._call(delta)]}
        return {"tool_calls": [{"index": delta.index, "function": {"arguments": delta.arguments}}]}

    def _call(self, delta: CallDelta) -> dict[str, Any]:
        call_id = self._use.call_id(self._request_id, self._choice, delta.index)
        return {"id": call_id, "type": "function", "function": {"name": delta.name, "arguments": ""}}
