"""What an answer must look like, from OpenAI's `response_format` or vLLM's fields, checked before it is accepted.

The gateway checks, since llguidance needs neither torch nor the model for that: so a wrong schema costs no place in the
queue and no worker, and its client gets a 400 at once.
"""

from collections.abc import Callable, Iterator

import msgspec

from tierline.text.grammar import grammar_problem
from tierline.wire.frames import Grammar
from tierline_gateway.front.api_errors import invalid
from tierline_gateway.front.openai_requests import ChatRequest, CommonFields, ResponseFormat, StructuredOutputs

Named = tuple[str, Grammar]


def is_structured(request: CommonFields) -> bool:
    """Whether the request may have a grammar, whose check may take long."""
    return next(_asked(request), None) is not None or (isinstance(request, ChatRequest) and bool(request.tools))


def grammar_of(request: CommonFields) -> Grammar | None:
    """Return the request's grammar; raises `ApiError` 400 naming the field when it is wrong or there are two."""
    asked = list(_asked(request))
    if not asked:
        return None
    (name, grammar), *others = asked
    if others:
        raise invalid(others[0][0], f"'{others[0][0]}' and '{name}' both shape the answer; leave one of them out.")
    problem = grammar_problem(grammar)
    if problem:
        raise invalid(name, f"'{name}' cannot be followed: {problem}. Correct it.", "invalid_value")
    return grammar


def _asked(request: CommonFields) -> Iterator[Named]:
    if request.response_format is not None:
        yield from _of_format(request.response_format)
    fields = request.structured_outputs
    if fields is not None:
        yield from _of_fields(fields, lambda name: f"structured_outputs.{name}")
    older = StructuredOutputs(request.guided_json, request.guided_regex, request.guided_choice, request.guided_grammar)
    yield from _of_fields(older, lambda name: f"guided_{name}")


def _of_format(asked: ResponseFormat) -> Iterator[Named]:
    if asked.type == "json_object":
        yield "response_format", Grammar("json_object")
    if asked.type == "json_schema":
        name = "response_format.json_schema"
        if asked.json_schema is None:
            raise invalid(name, f"'{name}' is required for this type; add it.", "missing_required_parameter")
        yield f"{name}.schema", Grammar("json_schema", _json(asked.json_schema.schema))


def _of_fields(fields: StructuredOutputs, path: Callable[[str], str]) -> Iterator[Named]:
    if fields.json is not None:
        text = fields.json if isinstance(fields.json, str) else _json(fields.json)
        yield path("json"), Grammar("json_schema", text)
    if fields.regex is not None:
        yield path("regex"), Grammar("regex", fields.regex)
    if fields.choice is not None:
        # Lark spells strings as JSON does.
        yield path("choice"), Grammar("lark", "start: " + " | ".join(map(_json, fields.choice)))
    if fields.grammar is not None:
        yield path("grammar"), Grammar("lark", fields.grammar)
    if fields.json_object:
        yield path("json_object"), Grammar("json_object")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
