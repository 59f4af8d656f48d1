"""Input files line by line: how chunks become lines, and what is told of a line that is not sound."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline_gateway.batches import input_lines
from tierline_gateway.batches.input_lines import InputCheck, LineCutter, LineTooLong

ENDPOINT = "/v1/chat/completions"
GOOD = {"custom_id": "a", "method": "POST", "url": ENDPOINT, "body": {"model": "m", "messages": []}}


def checked(*lines: object) -> InputCheck:
    check = InputCheck(ENDPOINT)
    for number, line in enumerate(lines, 1):
        check.read(number, line if isinstance(line, bytes) else json.dumps(line).encode())
    return check


@given(
    lines=st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=8),
    pieces=st.integers(1, 7),
    ends=st.booleans(),
)
def test_lines_are_the_same_however_they_are_cut(lines, pieces, ends) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    cutter = LineCutter()
    cut = [line for at in range(0, len(content), pieces) for line in cutter.cut(content[at : at + pieces])]
    cut += cutter.end()
    assert cut == [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def test_a_line_without_an_end_is_not_collected_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(input_lines, "MAX_LINE_BYTES", 10)
    cutter = LineCutter()
    assert list(cutter.cut(b"ab\n0123456")) == [(1, b"ab")]
    with pytest.raises(LineTooLong) as caught:
        list(cutter.cut(b"78901"))
    assert caught.value.args == (2,)


def test_sound_lines_name_their_model() -> None:
    check = checked(GOOD, {**GOOD, "custom_id": "b"})
    assert (check.ended(), check.lines, check.model) == ((), 2, "m")
    several = checked(GOOD, {**GOOD, "custom_id": "b", "body": {"model": "m:poems"}})
    assert (several.ended(), several.model) == ((), None)


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"custom_id": ""}, "custom_id", "invalid_custom_id"),
        ({"custom_id": "x" * 257}, "custom_id", "invalid_custom_id"),
        ({"custom_id": 7}, "custom_id", "invalid_value"),
        ({"method": "GET"}, "method", "invalid_method"),
        ({"url": "/v1/completions"}, "url", "mismatched_endpoint"),
        ({"body": "text"}, "body", "invalid_json_line"),
        ({"body": {}}, "body.model", "missing_required_parameter"),
        ({"body": {"model": 3}}, "body.model", "invalid_value"),
        ({"body": {"model": "m", "stream": True}}, "body.stream", "invalid_value"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_field(changes, param, code) -> None:
    (problem,) = checked(GOOD, {**GOOD, "custom_id": "b", **changes}).ended()
    assert (problem.line, problem.param, problem.code) == (2, param, code)
    assert param in problem.message


def test_a_missing_field_is_named() -> None:
    (problem,) = checked({"custom_id": "a", "method": "POST", "url": ENDPOINT}).ended()
    assert (problem.line, problem.param, problem.code) == (1, "body", "missing_required_parameter")


def test_an_id_is_used_once() -> None:
    (problem,) = checked(GOOD, GOOD).ended()
    assert (problem.line, problem.param, problem.code) == (2, "custom_id", "duplicate_custom_id")


def test_a_file_without_lines_is_not_sound() -> None:
    assert [problem.code for problem in checked().ended()] == ["empty_file"]


def test_problems_and_lines_are_bounded(monkeypatch) -> None:
    assert len(checked(*[b"{"] * 49).ended()) == 49
    assert checked(*[b"{"] * 50).given_up
    monkeypatch.setattr(input_lines, "MAX_LINES", 2)
    check = checked(*({**GOOD, "custom_id": str(at)} for at in range(3)))
    assert check.given_up
    assert [(problem.code, problem.line) for problem in check.ended()] == [("too_many_lines", 3)]
