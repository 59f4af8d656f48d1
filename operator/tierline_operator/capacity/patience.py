"""How often fleets are asked that do not answer: each failure in a row doubles the pause, up to a limit.

Asking a pod that refuses costs as much as asking one that tells, and a thousand of them are a core's work.
"""

from collections.abc import Hashable, Iterable

FREE_TRIES = 3
FIRST_PAUSE_MS = 5_000
LONGEST_PAUSE_MS = 40_000


class Patience:
    """Remembers who was silent; `who` changes with a fleet's gateways, so that new ones are asked at once."""

    def __init__(self) -> None:
        self._silent: dict[Hashable, tuple[int, int]] = {}

    def is_due(self, who: Hashable, now_ms: int) -> bool:
        """Say whether to ask again."""
        return now_ms >= self._silent.get(who, (0, 0))[1]

    def note(self, who: Hashable, told: bool, now_ms: int) -> None:
        """Take in how asking went."""
        if told:
            self._silent.pop(who, None)
            return
        tries = self._silent.get(who, (0, 0))[0] + 1
        pause_ms = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(tries - FREE_TRIES, 16)) if tries > FREE_TRIES else 0
        self._silent[who] = (tries, now_ms + pause_ms)

    def keep(self, alive: Iterable[Hashable]) -> None:
        """Forget all others."""
        known = frozenset(alive)
        self._silent = {who: silence for who, silence in self._silent.items() if who in known}
