"""Tool calls found in an answer while it is written, at any border between pieces of its text.

Nothing of a call's markup is shown as content, and nothing else is held back longer than it may still become markup.
What looks like a call and turns out to be none is content after all. State is a function of the text so far, so an
answer that goes on elsewhere is read on as if nothing had happened.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from enum import Enum, auto

from tierline.text.tools.call_object import CallObject
from tierline.text.tools.formats import ToolFormat

_BETWEEN = " \t\r\n,;[]"


@dataclass(frozen=True, slots=True)
class CallDelta:
    """What became known of call `index`: its `name`, once, before all else, or the next piece of its arguments."""

    index: int
    name: str = ""
    arguments: str = ""


Delta = str | CallDelta


class _State(Enum):
    """Outside of calls; in markup between calls; in one; in markup that broke after its name was told; or at a point
    from which all is content, or nothing is.
    """

    OUTSIDE = auto()
    BETWEEN = auto()
    CALL = auto()
    BROKEN = auto()
    CONTENT = auto()
    OVER = auto()


class ToolCallParser:
    """Reads one answer. `names` are the functions that may be called; `single` shows one call and nothing after it."""

    def __init__(self, form: ToolFormat, names: Set[str], *, single: bool = False) -> None:
        self.calls = 0
        self._form = form
        self._names = names
        self._single = single
        self._state = _State.OUTSIDE
        self._text = ""
        self._markup = ""
        self._call = CallObject()

    def feed(self, text: str) -> list[Delta]:
        """Take more of the answer and return what may be shown now."""
        self._text += text
        shown: list[Delta] = []
        before = None
        while self._text and before != (self._state, len(self._text)):
            before = (self._state, len(self._text))
            shown += self._step()
        return shown

    def finish(self) -> list[Delta]:
        """Return what was held back, at the end of the answer; a call that was cut before its name is dropped."""
        rest, self._text, self._markup = self._markup + self._text, "", ""
        cut = self._state in (_State.BETWEEN, _State.CALL) and not self._form.whole_answer
        nothing = cut or (self.calls and not rest.strip(_BETWEEN))
        return [rest] if rest and not nothing else []

    def _step(self) -> Iterator[Delta]:
        match self._state:
            case _State.OUTSIDE:
                return self._at_the_start() if self._form.whole_answer else self._outside()
            case _State.BETWEEN:
                return self._between()
            case _State.CALL:
                return self._in_call()
            case _State.BROKEN:
                return self._broken()
            case _State.CONTENT:
                return self._content(len(self._text))
            case _State.OVER:
                self._text = ""
                return iter(())

    def _outside(self) -> Iterator[Delta]:
        found = self._text.find(self._form.begin)
        marker = len(self._text) - found if found >= 0 else _overlap(self._text, self._form.begin)
        # White space before a call is no part of the content.
        yield from self._content(len(self._text[: len(self._text) - marker].rstrip()))
        if found >= 0:
            self._enter(self._text.find(self._form.begin) + len(self._form.begin))

    def _at_the_start(self) -> Iterator[Delta]:
        """Such calls are the whole answer, so its first characters decide."""
        begun, marker = self._text.lstrip(), self._form.begin
        if begun.startswith(marker):
            self._enter(len(self._text) - len(begun) + len(marker))
        elif begun.startswith(self._form.opening or "{"):
            self._enter(len(self._text) - len(begun))
        elif begun and not marker.startswith(begun):
            self._state = _State.CONTENT
        return iter(())

    def _between(self) -> Iterator[Delta]:
        """Separators, the next call, or the end."""
        rest = self._text.lstrip(_BETWEEN)
        self._consume(len(self._text) - len(rest))
        end = self._form.end
        if rest.startswith("{"):
            self._state, self._call = _State.CALL, CallObject()
        elif end and rest.startswith(end):
            self._text, self._markup, self._state = rest.removeprefix(end), "", _State.OUTSIDE
        elif not (end or "{").startswith(rest):
            yield from self._none_after_all()

    def _in_call(self) -> Iterator[Delta]:
        call, told = self._call, self._call.name is not None
        self._consume(call.feed(self._text))
        taken = call.name is not None and not (self._form.whole_answer and call.name not in self._names)
        if taken:
            yield from self._told(call, told)
        if call.broken or (call.name is not None and not taken):
            yield from self._none_after_all(taken)
        elif call.done:
            self._state = _State.OVER if self._single else _State.BETWEEN

    def _told(self, call: CallObject, already: bool) -> Iterator[Delta]:
        self._markup = ""
        if not already:
            self.calls += 1
            yield CallDelta(self.calls - 1, name=call.name or "")
        arguments = call.take_arguments()
        if arguments:
            yield CallDelta(self.calls - 1, arguments=arguments)

    def _none_after_all(self, told: bool = False) -> Iterator[Delta]:
        """What was read is no call; if its name was told already, the rest of its markup is only dropped."""
        shown, self._markup = self._markup, ""
        if told:
            self._state = _State.OVER if self._form.whole_answer else _State.BROKEN
        else:
            self._state = _State.CONTENT if self._form.whole_answer else _State.OUTSIDE
            yield from [shown] if shown else []

    def _broken(self) -> Iterator[Delta]:
        end = self._form.end
        found = self._text.find(end)
        kept = found + len(end) if found >= 0 else len(self._text) - _overlap(self._text, end)
        self._text = self._text[kept:]
        self._state = _State.OUTSIDE if found >= 0 else _State.BROKEN
        return iter(())

    def _enter(self, length: int) -> None:
        self._state = _State.BETWEEN
        self._consume(length)

    def _content(self, length: int) -> Iterator[Delta]:
        shown, self._text = self._text[:length], self._text[length:]
        return iter([shown] if shown else [])

    def _consume(self, length: int) -> None:
        """Go on in the markup, which is remembered until it is known to be a call."""
        self._markup += self._text[:length]
        self._text = self._text[length:]


def _overlap(text: str, marker: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `marker`."""
    longest = min(len(marker) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if marker.startswith(text[-length:])), 0)
