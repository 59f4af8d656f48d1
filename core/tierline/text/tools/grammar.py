"""The grammar of an answer that calls functions, in Lark as llguidance reads it.

An answer that need not call is text until a call begins; from there on it must be a sound one. llguidance matches that
text lazily, so a token of it costs no more than without a grammar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tierline.text.grammar import inline_schema
from tierline.text.tools.formats import ToolFormat
from tierline.wire.frames import Grammar

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class CallableFunction:
    """A function's name, made of letters, digits, `_`, `.` and `-`, and the JSON schema of its arguments, if any."""

    name: str
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallRules:
    """What an answer may be: one call or `several`; and if none is `required`, text, which follows the JSON schema
    `answer` if there is one.
    """

    functions: Sequence[CallableFunction]
    several: bool
    required: bool
    answer: Mapping[str, Any] | None = None


def call_grammar(form: ToolFormat, rules: CallRules) -> Grammar:
    """Return the grammar of the answers that `rules` allow, calls written in `form`."""
    lines = [f"start: {_start(form, rules)}", *_text(form, rules), f"calls: {_calls(form, rules.several)}"]
    lines.append("body: " + " | ".join(f"call_{at}" for at in range(len(rules.functions))))
    space = "\n" if form.end else ""
    for at, function in enumerate(rules.functions):
        head = f'{space}{{"name": "{function.name}", "{form.arguments_key}": '
        lines.append(f"call_{at}: {_literal(head)} arguments_{at} {_literal('}' + space + form.end)}")
        lines.append(f"arguments_{at}: %json {inline_schema(function.parameters or _ANY_OBJECT)}")
    return Grammar("lark", "\n".join(lines))


def _start(form: ToolFormat, rules: CallRules) -> str:
    opened = " ".join([_literal(form.begin if form.end else form.opening), "calls"])
    if rules.required:
        return opened
    if rules.answer is not None:
        return f"answer | {opened}"
    return "TEXT | begin calls" if form.end else f"TEXT | {opened}"


def _text(form: ToolFormat, rules: CallRules) -> list[str]:
    """Return the rules of what is no call."""
    if rules.required:
        return []
    if rules.answer is not None:
        return [f"answer: %json {inline_schema(rules.answer)}"]
    if form.end:
        return [f"TEXT: /(?s:.+)/ & ~/(?s:.*){form.begin}(?s:.*)/", f"begin[lazy]: /(?s:.*){form.begin}/"]
    return [f"TEXT: /[^\\{form.opening or '{'}\\s](?s:.*)/"]


def _calls(form: ToolFormat, several: bool) -> str:
    again = f"({_literal(form.separator + (form.begin if form.end else ''))} body)*" if several else ""
    return " ".join(["body", again, _literal(form.closing)])


def _literal(text: str) -> str:
    """Lark spells strings as JSON does."""
    return msgspec.json.encode(text).decode() if text else ""
