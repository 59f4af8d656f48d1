"""Server-sent events whose only varying part is a text: everything around it is encoded once."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

_PLACE: Final = "place of the text"
_TEXT: Final = msgspec.json.Encoder()


def event_of(body: Any) -> bytes:
    """Return a body as one server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


class EventTemplate:
    """Made from what builds the body for a text; each text after that costs only its own encoding."""

    __slots__ = ("_after", "_before")

    def __init__(self, body_of: Callable[[str], Any]) -> None:
        whole = event_of(body_of(_PLACE))
        self._before, place, self._after = whole.partition(_TEXT.encode(_PLACE))
        assert place, "the body does not hold the text"

    def event(self, text: str) -> bytes:
        """Return the event with this text."""
        return self._before + _TEXT.encode(text) + self._after
