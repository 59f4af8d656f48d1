"""Tools in OpenAI's words: functions that a model may call, which of them it must, and calls that it made."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MAX_TOOLS = 128

FunctionName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]


class Function(msgspec.Struct):
    """A function as its client describes it. With `strict` arguments follow `parameters`, a JSON schema, always."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    """One entry of `tools`; OpenAI's own tools (web search and the like) have other types and are not served."""

    type: Literal["function"]
    function: Function

    def told(self) -> dict[str, Any]:
        """Return it as chat templates expect it."""
        described = {"name": self.function.name, "description": self.function.description or ""}
        parameters = self.function.parameters or {"type": "object", "properties": {}}
        return {"type": "function", "function": described | {"parameters": parameters}}


class NamedFunction(msgspec.Struct):
    """The function of a `NamedToolChoice`."""

    name: str


class NamedToolChoice(msgspec.Struct):
    """`tool_choice` that names the function to call."""

    type: Literal["function"]
    function: NamedFunction


Tools = Annotated[list[Tool], Meta(max_length=MAX_TOOLS)]
ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice


class CalledFunction(msgspec.Struct):
    """A function's name and its arguments, a JSON object as text."""

    name: str
    arguments: str = ""


class MessageToolCall(msgspec.Struct):
    """A call in a message of the assistant, as an earlier answer had it."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
