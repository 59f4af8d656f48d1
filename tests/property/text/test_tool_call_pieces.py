"""How an answer is cut into pieces makes no difference to what its client gets."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tierline.text.tools.formats import FORMATS, ToolFormat
from tierline.text.tools.parser import ToolCallParser

NAMES = ("weather", "time")
WORDS = st.text('<>{}[]"\\:, \nabtool_call/name', max_size=12)
VALUES = st.recursive(st.none() | st.integers() | st.text(max_size=6), lambda inner: st.lists(inner, max_size=3))
CALLS = st.tuples(st.sampled_from(NAMES), st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
forms = st.sampled_from(list(FORMATS.values()))


def written(form: ToolFormat, calls: list[tuple[str, dict[str, object]]]) -> str:
    objects = [json.dumps({"name": name, form.arguments_key: arguments}) for name, arguments in calls]
    if form.end:
        return "\n".join(f"{form.begin}\n{one}\n{form.end}" for one in objects)
    return form.opening + form.separator.join(objects) + form.closing


def put_together(form: ToolFormat, pieces: list[str]) -> tuple[str, list[list[str]]]:
    parser = ToolCallParser(form, frozenset(NAMES))
    content, calls = "", list[list[str]]()
    for delta in [delta for piece in pieces for delta in parser.feed(piece)] + parser.finish():
        if isinstance(delta, str):
            content += delta
        elif delta.name:
            calls.append([delta.name, ""])
        else:
            calls[delta.index][1] += delta.arguments
    return content, calls


@given(forms, st.lists(WORDS | st.lists(CALLS, min_size=1, max_size=2), max_size=4), st.data())
def test_pieces_make_no_difference(form: ToolFormat, parts: list[object], data: st.DataObject) -> None:
    text = "".join(part if isinstance(part, str) else written(form, part) for part in parts)  # type: ignore[arg-type]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = put_together(form, [text])
    assert put_together(form, pieces) == whole
    assert put_together(form, list(text)) == whole


@given(forms, st.lists(CALLS, min_size=1, max_size=3))
def test_what_is_written_is_read(form: ToolFormat, calls: list[tuple[str, dict[str, object]]]) -> None:
    content, read = put_together(form, list(written(form, calls)))
    assert not content
    assert [(name, json.loads(arguments)) for name, arguments in read] == calls


@given(forms, st.text(max_size=60))
def test_an_answer_without_markup_is_all_content(form: ToolFormat, text: str) -> None:
    if not any(mark in text for mark in (form.begin, "{", "[")):
        assert put_together(form, list(text)) == (text, [])
