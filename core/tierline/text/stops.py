"""Stop strings, found across any borders between pieces of text."""

from collections.abc import Sequence

import msgspec


class StopResult(msgspec.Struct, frozen=True):
    """Text that may be shown now, and whether a stop string ended the answer."""

    text: str
    stopped: bool = False


class StopWindow:
    """Holds back text that may turn out to be the begin of a stop string; nothing else is ever delayed."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def feed(self, piece: str) -> StopResult:
        """Take a piece; the text before the earliest stop string is returned, the stop string itself never."""
        buffer = self._held + piece
        found = min((at for at in map(buffer.find, self._stops) if at >= 0), default=-1)
        if found >= 0:
            self._held = ""
            return StopResult(buffer[:found], stopped=True)
        keep = self._undecided(buffer)
        self._held = buffer[len(buffer) - keep :]
        return StopResult(buffer[: len(buffer) - keep])

    def flush(self) -> str:
        """Return the text held back, at the end of an answer that no stop string ended."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, buffer: str) -> int:
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(buffer)), 0, -1):
            if any(stop.startswith(buffer[-length:]) for stop in self._stops):
                return length
        return 0
