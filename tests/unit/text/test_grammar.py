"""What is wrong with a grammar is said before anything is computed, without a model."""

import pytest

from tierline.text.grammar import grammar_problem
from tierline.wire.frames import Grammar


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("json_object"),
        Grammar("json_schema", '{"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"enum": [1, 2]}}}'),
        Grammar("json_schema", "{}"),
        Grammar("regex", r"\d{4}-\d\d"),
        Grammar("lark", 'start: item+\nitem: "a" | /[bc]/'),
    ],
)
def test_sound_grammars(grammar):
    assert grammar_problem(grammar) == ""


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (Grammar("json_schema", '{"type": "objekt"}'), "objekt"),
        (Grammar("json_schema", '{"$ref": "https://example.com/schema"}'), "example.com"),
        (Grammar("json_schema", '{"unevaluatedProperties": false}'), "unevaluatedProperties"),
        (Grammar("json_schema", '{"type":'), "line 1"),
        (Grammar("json_schema", ""), "line 1"),
        (Grammar("json_schema", "true"), "JSON object"),
        (Grammar("regex", "[ab"), "unclosed"),
        (Grammar("regex", "(?<=a)b"), "look"),
        (Grammar("lark", "start: missing"), "missing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(grammar, words):
    problem = grammar_problem(grammar)
    assert words in problem
    assert "\n" not in problem
