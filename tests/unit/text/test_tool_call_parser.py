"""What clients see of an answer that calls functions, in each form."""

import pytest

from tierline.text.tools.formats import HERMES, LLAMA3, MISTRAL, ToolFormat
from tierline.text.tools.parser import CallDelta, ToolCallParser

NAMES = frozenset({"weather", "time"})
ROME = '{"name": "weather", "arguments": {"city": "Rome"}}'


def read(form: ToolFormat, *pieces: str, single: bool = False) -> tuple[str, list[tuple[str, str]]]:
    """Return content and calls, as a client puts them together."""
    parser = ToolCallParser(form, NAMES, single=single)
    deltas = [delta for piece in pieces for delta in parser.feed(piece)] + parser.finish()
    content, calls = "", []
    for delta in deltas:
        if isinstance(delta, str):
            content += delta
        elif delta.name:
            assert delta.index == len(calls)
            calls.append((delta.name, ""))
        else:
            name, arguments = calls[delta.index]
            calls[delta.index] = (name, arguments + delta.arguments)
    assert parser.calls == len(calls)
    return content, calls


class TestHermes:
    def test_text_stays_text(self) -> None:
        assert read(HERMES, "2 < 3, and <tools> are ", "no calls \n") == ("2 < 3, and <tools> are no calls \n", [])

    def test_text_before_a_call_is_content_without_the_space_between(self) -> None:
        answer = f"Let me look.\n\n<tool_call>\n{ROME}\n</tool_call>\n"
        assert read(HERMES, answer) == ("Let me look.", [("weather", '{"city": "Rome"}')])

    def test_two_calls_and_text_after_them(self) -> None:
        second = '{"name": "time", "arguments": {}}'
        answer = f"<tool_call>{ROME}</tool_call>\n<tool_call>{second}</tool_call> Done."
        assert read(HERMES, answer) == (" Done.", [("weather", '{"city": "Rome"}'), ("time", "{}")])

    def test_a_list_of_calls_and_an_empty_one(self) -> None:
        answer = '<tool_call>[{"name": "time", "arguments": {}}, {"name": "time", "arguments": {"z": 1}}]</tool_call>'
        assert read(HERMES, answer) == ("", [("time", "{}"), ("time", '{"z": 1}')])
        assert read(HERMES, "<tool_call>[]</tool_call>") == ("", [])

    def test_arguments_are_told_while_they_come_and_the_name_before_them(self) -> None:
        parser = ToolCallParser(HERMES, NAMES)
        pieces = ["<tool", '_call>{"na', 'me": "weather", "arguments": {"ci', 'ty": "Ro', 'me"}', "}</tool_", "call>"]
        assert [parser.feed(piece) for piece in pieces] == [
            [],
            [],
            [CallDelta(0, name="weather"), CallDelta(0, arguments='{"ci')],
            [CallDelta(0, arguments='ty": "Ro')],
            [CallDelta(0, arguments='me"}')],
            [],
            [],
        ]
        assert parser.finish() == []

    def test_arguments_before_the_name_wait_for_it(self) -> None:
        answer = '<tool_call>{"arguments": {"city": "}"}, "name": "weather"}</tool_call>'
        assert read(HERMES, answer) == ("", [("weather", '{"city": "}"}')])

    @pytest.mark.parametrize(
        ("written", "arguments"),
        [
            ("", "{}"),
            (', "arguments": null', "{}"),
            (', "arguments": "{\\"city\\": 1}"', '{"city": 1}'),
            (', "arguments": {"a": "\\"}</tool_call>"}', '{"a": "\\"}</tool_call>"}'),
            (', "arguments": {"a": {"b": [1, {}]}}, "id": 7', '{"a": {"b": [1, {}]}}'),
        ],
    )
    def test_arguments_as_models_write_them(self, written: str, arguments: str) -> None:
        assert read(HERMES, f'<tool_call>{{"name": "time"{written}}}</tool_call>') == ("", [("time", arguments)])

    @pytest.mark.parametrize("broken", ["call me", '{"city": "Rome"}', "{1}", '{"name" "x"}'])
    def test_what_is_no_call_is_content(self, broken: str) -> None:
        answer = f"<tool_call>{broken}</tool_call>"
        assert read(HERMES, answer) == (answer, [])

    def test_markup_that_breaks_after_the_name_is_not_shown(self) -> None:
        answer = '<tool_call>{"name": "time", "arguments": {}] oh</tool_call> and on'
        assert read(HERMES, answer) == (" and on", [("time", "{}")])

    def test_an_answer_cut_in_its_markup_shows_none_of_it(self) -> None:
        assert read(HERMES, 'So: <tool_call>{"na') == ("So:", [])
        assert read(HERMES, '<tool_call>{"name": "time", "arguments": {"z"') == ("", [("time", '{"z"')])

    def test_a_begin_that_comes_to_nothing_is_shown(self) -> None:
        assert read(HERMES, "a <tool", "_ca") == ("a <tool_ca", [])

    def test_single_shows_the_first_call_and_nothing_more(self) -> None:
        answer = f"Hm. <tool_call>{ROME}</tool_call><tool_call>{ROME}</tool_call> end"
        assert read(HERMES, answer, single=True) == ("Hm.", [("weather", '{"city": "Rome"}')])


class TestCallsThatAreTheWholeAnswer:
    def test_llama_with_and_without_its_marker(self) -> None:
        call = '{"name": "weather", "parameters": {"city": "Rome"}}'
        expected = ("", [("weather", '{"city": "Rome"}')])
        assert read(LLAMA3, call) == expected
        assert read(LLAMA3, "<|python", f"_tag|>{call}") == expected
        assert read(LLAMA3, f"{call}; {call}")[1] == expected[1] * 2

    def test_mistral(self) -> None:
        expected = [("weather", '{"city": "Rome"}')]
        assert read(MISTRAL, f" [{ROME}]") == ("", expected)
        assert read(MISTRAL, f"[TOOL_CALLS] [{ROME}, {ROME}]") == ("", expected * 2)

    @pytest.mark.parametrize(
        "answer",
        ['{"city": "Rome"}', '{"name": "Bob", "parameters": {}}', 'Call {"name": "time"}', '{"name": ', "  plain"],
    )
    def test_other_json_is_content(self, answer: str) -> None:
        assert read(LLAMA3, *answer) == (answer, [])

    def test_an_object_that_is_no_call_is_shown_from_its_first_key_on(self) -> None:
        parser = ToolCallParser(LLAMA3, NAMES)
        assert parser.feed('{"city"') == ['{"city"']
        assert parser.feed(': "Rome"}') == [': "Rome"}']
