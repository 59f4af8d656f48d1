"""One call, a JSON object with a name and arguments, read while it is written."""

import json
from enum import Enum, auto

_NAME_KEY = "name"
_ARGUMENTS_KEYS = frozenset({"arguments", "parameters"})
_KEYS = _ARGUMENTS_KEYS | {_NAME_KEY, "type", "id"}
_SPACE = " \t\r\n"


class JsonValue:
    """Finds the end of one JSON value that comes in pieces; strings and nesting are looked at, nothing else."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._scalar = False

    def end_in(self, text: str, start: int) -> int | None:
        """Return the position after the value's end if that lies in `text`, None when the value goes on."""
        for at in range(start, len(text)):
            char = text[at]
            if self._in_string:
                self._string_char(char)
                if not self._in_string and not self._depth:
                    return at + 1
            elif self._scalar and (char in ",}]" or char in _SPACE):
                return at
            elif not self._scalar and self._outside_strings(char):
                return at + 1
        return None

    def _string_char(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False

    def _outside_strings(self, char: str) -> bool:
        """Take a character outside strings and scalars; true when it ends the value."""
        if char == '"':
            self._in_string = True
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
            return self._depth <= 0
        elif not self._depth:
            self._scalar = True
        return False


class _Expect(Enum):
    """What may come next, white space aside."""

    OPENING = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    NEXT = auto()


class CallObject:
    """A call as far as it was written.

    `name` is None until it is known; the text of the arguments may come before it. A `broken` one is no call.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.done = False
        self.broken = False
        self._arguments: list[str] = []
        self._argued = False
        self._expect = _Expect.OPENING
        self._key = ""
        self._value: JsonValue | None = None
        self._passed_on = False
        self._raw: list[str] = []

    def feed(self, text: str) -> int:
        """Read `text` and return where reading ended, before its end only when done or broken."""
        at = 0
        while at < len(text) and not self.done and not self.broken:
            if self._value is not None:
                at = self._read_value(self._value, text, at)
            elif text[at] in _SPACE:
                at += 1
            elif self._begins_value(text[at]):
                self._value = JsonValue()
                # Objects are passed on while they come; what else a model writes here is looked at when it is whole.
                self._passed_on = self._is_arguments and text[at] == "{"
            else:
                self._punctuation(text[at])
                at += 1
        return at

    def take_arguments(self) -> str:
        """Return the text of the arguments that came since the last call."""
        pieces, self._arguments = self._arguments, []
        return "".join(pieces)

    @property
    def _is_arguments(self) -> bool:
        return self._expect is _Expect.VALUE and self._key in _ARGUMENTS_KEYS and not self._argued

    def _begins_value(self, char: str) -> bool:
        if self._expect is _Expect.KEY:
            return char == '"'
        return self._expect is _Expect.VALUE and char not in ",}]:"

    def _read_value(self, value: JsonValue, text: str, at: int) -> int:
        end = value.end_in(text, at)
        (self._arguments if self._passed_on else self._raw).append(text[at:end])
        if end is None:
            return len(text)
        self._value = None
        self._take_value()
        return end

    def _take_value(self) -> None:
        raw, self._raw = "".join(self._raw), []
        if self._passed_on:
            self._argued = True
            self._expect = _Expect.NEXT
            return
        try:
            value = json.loads(raw)
        except ValueError:
            self.broken = True
            return
        if self._expect is _Expect.KEY:
            # Any other key: the answer is an object, but no call, which shows here before all of it is held back.
            self._key, self._expect, self.broken = value, _Expect.COLON, value not in _KEYS
            return
        if self._key == _NAME_KEY and isinstance(value, str):
            self.name = self.name or value
        elif self._is_arguments and value is not None:
            # Some models write the object as a string, as OpenAI's clients see it.
            self._arguments.append(value if isinstance(value, str) and value else raw)
            self._argued = True
        self._expect = _Expect.NEXT

    def _punctuation(self, char: str) -> None:
        match self._expect, char:
            case _Expect.OPENING, "{":
                self._expect = _Expect.KEY
            case _Expect.COLON, ":":
                self._expect = _Expect.VALUE
            case _Expect.NEXT, ",":
                self._expect = _Expect.KEY
            case ((_Expect.KEY | _Expect.NEXT), "}") if self.name:
                self.done = True
                if not self._argued:
                    self._arguments.append("{}")
            case _:
                self.broken = True
