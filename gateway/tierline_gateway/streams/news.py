"""How whoever writes an answer learns that something of it became visible.

Waking a task costs more than writing a token. So a listener may take what is new on the spot, in the middle of the
iteration's frame, and a task is woken only for what the listener leaves: an end, or a client that reads too slowly.
"""

import asyncio
from collections.abc import Callable

Listener = Callable[[], bool]
"""Takes what is new and returns whether it took all of it; must not wait."""


class News:
    """Shared by the choices of one answer."""

    __slots__ = ("_event", "_listener")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listener: Listener | None = None

    def tell(self) -> None:
        """Say that there is something new."""
        if self._listener is None or not self._listener():
            self._event.set()

    def read(self) -> None:
        """Note that all news so far is known; to be called before looking at it."""
        self._event.clear()

    async def wait(self) -> None:
        """Return as soon as there is news that no listener took."""
        await self._event.wait()

    def listen(self, listener: Listener | None) -> None:
        """Let `listener` take what is new from now on, in place of any other; None: nobody does."""
        self._listener = listener
