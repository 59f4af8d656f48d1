"""Whether and how an answer calls functions, from a request's `tools`, `tool_choice` and `parallel_tool_calls`.

What the client demands is enforced by a grammar: a call where one is required, the schema where a function is strict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from tierline.text.grammar import grammar_problem
from tierline.text.tools.formats import FORMATS, ToolFormat
from tierline.text.tools.grammar import CallableFunction, CallRules, call_grammar
from tierline.text.tools.parser import ToolCallParser
from tierline.wire.frames import Grammar
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.openai_requests import ChatRequest
from tierline_gateway.front.openai_tools import NamedToolChoice, Tool


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How the calls of one answer are read. `single`: there is one at most."""

    form: ToolFormat
    names: frozenset[str]
    single: bool

    def parser(self) -> ToolCallParser:
        return ToolCallParser(self.form, self.names, single=self.single)

    def call_id(self, request_id: str, choice: int, index: int) -> str:
        """Return the id of a call, the same whenever it is asked for."""
        digest = blake2b(f"{request_id}/{choice}/{index}".encode(), digest_size=16).hexdigest()
        return self.form.id_prefix + digest[: self.form.id_digits]

    @property
    def stops(self) -> tuple[str, ...]:
        """Where an answer ends that may hold one call only."""
        return (self.form.end,) if self.single and self.form.end else ()


def told_tools(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the functions that the model is told of."""
    return [] if request.tool_choice == "none" else [tool.told() for tool in request.tools or ()]


def tool_use_of(request: ChatRequest, form: ToolFormat | None) -> ToolUse | None:
    """Return how calls are read, None when there are none to be; raises `ApiError` 400."""
    tools = _checked(request)
    if not tools or request.tool_choice == "none":
        return None
    if form is None:
        forms = ", ".join(FORMATS)
        message = f"'tools' cannot be served: the model's template writes calls in none of the forms {forms}; "
        message += "whoever runs the fleet can set spec.model.toolCallFormat to the one it comes nearest to."
        raise invalid("tools", message, "unsupported_parameter")
    single = request.parallel_tool_calls is False or isinstance(request.tool_choice, NamedToolChoice)
    return ToolUse(form, frozenset(tool.function.name for tool in tools), single)


def tool_grammar_of(request: ChatRequest, use: ToolUse | None, shape: Grammar | None) -> Grammar | None:
    """Return the grammar of the whole answer, `shape` being that of what is no call; raises `ApiError` 400."""
    if use is None:
        return shape
    tools, required = _enforced(request), request.tool_choice not in (None, "auto")
    if required and shape is not None:
        raise invalid("tool_choice", "'tool_choice' and another field both shape the answer; leave one of them out.")
    if not required and shape is None and not any(tool.function.strict for tool in tools):
        return None
    functions = [_callable(tool, always=required) for tool in tools]
    answer = None if shape is None else _answer_schema(use.form, shape)
    grammar = call_grammar(use.form, CallRules(functions, not use.single, required, answer))
    problem = grammar_problem(grammar)
    if problem:
        raise _cannot_be_followed(request.tools or [], problem)
    return grammar


def _checked(request: ChatRequest) -> list[Tool]:
    tools, choice = request.tools or [], request.tool_choice
    names = [tool.function.name for tool in tools]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise invalid(f"tools[{at}].function.name", f"'tools' holds {name!r} twice; give each function its name.")
    if not tools and (choice not in (None, "none") or request.parallel_tool_calls is not None):
        param = "tool_choice" if choice not in (None, "none") else "parallel_tool_calls"
        raise invalid(param, f"'{param}' needs 'tools'; add them or leave it out.")
    if isinstance(choice, NamedToolChoice) and choice.function.name not in names:
        known = ", ".join(names)
        message = f"'tool_choice.function.name' is {choice.function.name!r}, which is not among 'tools': {known}."
        raise invalid("tool_choice.function.name", message)
    return tools


def _enforced(request: ChatRequest) -> list[Tool]:
    """Return the functions among which the model chooses."""
    choice, tools = request.tool_choice, request.tools or []
    named = choice.function.name if isinstance(choice, NamedToolChoice) else None
    return [tool for tool in tools if named in (None, tool.function.name)]


def _callable(tool: Tool, always: bool) -> CallableFunction:
    function = tool.function
    return CallableFunction(function.name, function.parameters if always or function.strict else None)


def _answer_schema(form: ToolFormat, shape: Grammar) -> Mapping[str, Any]:
    """Return the JSON schema of an answer that may also be a call."""
    if not shape.kind.startswith("json_") or not (form.end or form.opening):
        message = "'tools' cannot be served together with this shape of the answer; leave one of them out."
        raise invalid("tools", message, "unsupported_parameter")
    schema: Mapping[str, Any] = msgspec.json.decode(shape.text) if shape.text else {"type": "object"}
    return schema


def _cannot_be_followed(tools: list[Tool], problem: str) -> ApiError:
    """Name the function whose parameters are the problem, as far as one of them is."""
    for at, tool in enumerate(tools):
        own = grammar_problem(Grammar("json_schema", msgspec.json.encode(tool.function.parameters or {}).decode()))
        if own:
            param = f"tools[{at}].function.parameters"
            return invalid(param, f"'{param}' cannot be followed: {own}. Correct it.", "invalid_value")
    return invalid("tools", f"'tools' cannot be followed: {problem}. Correct them.", "invalid_value")
