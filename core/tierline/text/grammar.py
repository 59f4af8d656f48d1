"""What an answer must look like, in the words of llguidance, which reads JSON schemas, regular expressions and Lark.

The gateway asks `grammar_problem` before it accepts a request, a worker builds its matchers from the same text with the
same limits, so what was accepted compiles.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from llguidance import LLMatcher, LLParserLimits

from tierline.wire.frames import Grammar

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_ANY_OBJECT = '{"type": "object"}'
# Unbounded, a model that likes white space writes nothing else until its limit; this leaves room for deep indentation.
_JSON_STYLE: "JsonCompileOptions" = {"whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,64}"}


def grammar_limits() -> LLParserLimits:
    """Return the bounds of what a foreign grammar may cost: llguidance's own, some 20 ms a mask."""
    return LLParserLimits(verbose_errors=False)


def guidance_of(grammar: Grammar) -> str:
    """Return `grammar` as llguidance reads it; whether it is sound only `grammar_problem` tells.

    Raises `ValueError` for a schema that is no JSON object.
    """
    match grammar.kind:
        case "json_object":
            return LLMatcher.grammar_from_json_schema(_ANY_OBJECT, _JSON_STYLE)
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(grammar.text, _JSON_STYLE)
        case "regex":
            return LLMatcher.grammar_from_regex(grammar.text)
        case "lark":
            return LLMatcher.grammar_from_lark(grammar.text)


def inline_schema(schema: Mapping[str, Any]) -> str:
    """Return a JSON schema as a part of a Lark grammar holds it, after `%json`."""
    return msgspec.json.encode({**schema, "x-guidance": _JSON_STYLE}).decode()


def grammar_problem(grammar: Grammar) -> str:
    """Return what is wrong with `grammar`, empty when an answer can follow it. Large ones take many milliseconds."""
    try:
        text = guidance_of(grammar)
    except ValueError as error:
        return f"it is no JSON object ({error})"
    refused, messages = LLMatcher.validate_grammar_with_warnings(text, limits=grammar_limits())
    return " ".join(" ".join(messages).split()) if refused else ""
