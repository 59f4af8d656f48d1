"""How long a tier's prompts are, so that under overload short ones do not take the room of long ones.

A request is refused when it would wait longer than its own prompt leaves of the deadline. Under lasting overload the
queue then stays as long as the shortest prompts bear, and long ones are never let in: more requests are served, less
of what was asked for. So everyone leaves what a long prompt of the tier needs, up to a share of the deadline:

    room(P) = deadline - max(first_token(P), min(first_token(p95 of the tier's prompts), `LONG_ROOM` * deadline))

With that, what decides is when a request comes and not how long it is, as long as its prompt takes at most what the
tier's p95 takes. What is longer is refused earlier: that much the tier itself declares with its target.

Inputs: prompt lengths as they arrive. Bounds: `RECENT` lengths a tier. When not to use it: where the number of requests
in time is all that counts.
"""

from collections import deque
from typing import Final

import numpy as np

RECENT: Final = 256
LONG_SHARE: Final = 0.95
LONG_ROOM: Final = 0.4
"""Above it long prompts, which the queue starts earlier as they take longer, are let in more often than short ones."""
_EVERY: Final = 16


class PromptLengths:
    """The length that `LONG_SHARE` of each tier's recent prompts do not exceed."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[int]] = {}
        self._long: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def arrived(self, tier: str, prompt_tokens: int) -> None:
        """Take in a prompt, whatever is decided on it."""
        recent = self._recent.setdefault(tier, deque(maxlen=RECENT))
        recent.append(prompt_tokens)
        self._seen[tier] = self._seen.get(tier, 0) + 1
        if self._seen[tier] % _EVERY == 1:
            self._long[tier] = int(np.quantile(np.array(recent), LONG_SHARE))

    def long(self, tier: str) -> int:
        """Return the length of a long prompt of the tier, 0 before the first."""
        return self._long.get(tier, 0)


def room_ms(deadline_ms: float, first_token_ms: float, long_first_token_ms: float) -> float:
    """Return what is left of the deadline for waiting; negative when the prompt alone takes longer."""
    return deadline_ms - max(first_token_ms, min(long_first_token_ms, LONG_ROOM * deadline_ms))
