"""From OpenAI's messages to those that chat templates read."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tierline_gateway.front.api_errors import invalid
from tierline_gateway.front.openai_requests import ChatMessage
from tierline_gateway.front.openai_tools import MessageToolCall

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def template_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return the conversation for a template; raises `ApiError` 400 naming the message."""
    if not messages:
        raise invalid("messages", "'messages' is empty; send at least one message.")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: ChatMessage, path: str) -> dict[str, Any]:
    if message.role not in _ROLES:
        known = ", ".join(sorted(_ROLES))
        raise invalid(f"{path}.role", f"'{path}.role' is {message.role!r}; use one of {known}.")
    # Templates were written before OpenAI renamed the system role.
    role = "system" if message.role == "developer" else message.role
    plain: dict[str, Any] = {"role": role, "content": _content(message, path)}
    if role == "tool":
        return plain | _answered_call(message, path)
    if message.tool_calls:
        plain["tool_calls"] = _calls(message, path)
    return plain


def _content(message: ChatMessage, path: str) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for at, part in enumerate(message.content):
        if part.type != "text":
            param = f"{path}.content[{at}].type"
            raise invalid(param, f"'{param}' is {part.type!r}; only text parts are served.", "unsupported_value")
    return "".join(part.text for part in message.content)


def _answered_call(message: ChatMessage, path: str) -> dict[str, Any]:
    if not message.tool_call_id:
        param = f"{path}.tool_call_id"
        raise invalid(param, f"'{param}' is required for the role tool; name the call that this is the result of.")
    named = {} if message.name is None else {"name": message.name}
    return {"tool_call_id": message.tool_call_id} | named


def _calls(message: ChatMessage, path: str) -> list[dict[str, Any]]:
    if message.role != "assistant":
        raise invalid(f"{path}.tool_calls", f"'{path}.tool_calls' is only for the role assistant; leave it out.")
    return [_call(call, f"{path}.tool_calls[{at}]") for at, call in enumerate(message.tool_calls or ())]


def _call(call: MessageToolCall, path: str) -> dict[str, Any]:
    """Return a call with its arguments as an object, which is what templates print."""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        param = f"{path}.function.arguments"
        raise invalid(param, f"'{param}' is no JSON object; send the arguments as the answer had them.") from None
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}
