"""One client's answer: its choices, each a stream of its own, merged as they become visible."""

from collections.abc import AsyncIterator

import msgspec

from tierline_gateway.streams.live import LiveRequest, Piece
from tierline_gateway.streams.news import News


class Answer(msgspec.Struct, frozen=True):
    """The choices of one answer and their common news."""

    choices: tuple[LiveRequest, ...]
    news: News

    @property
    def first(self) -> LiveRequest:
        return self.choices[0]

    @property
    def delivered_tokens(self) -> int:
        return sum(live.delivery.tokens for live in self.choices)

    @property
    def any_ended(self) -> bool:
        for live in self.choices:  # noqa: SIM110 - asked at every token, and a generator costs more than the look
            if live.life.done:
                return True
        return False

    async def pieces(self) -> AsyncIterator[tuple[int, Piece | None]]:
        """Yield (choice, what became visible), and (choice, None) at each one's end; raises the first error of any.

        Pieces are joined when the client is slower than the worker. What a listener takes is not seen here.
        """
        running = dict(enumerate(self.choices))
        while running:
            self.news.read()
            for index, live in list(running.items()):
                piece = live.take_visible()
                if piece is not None:
                    yield index, piece
                elif live.life.done:
                    if live.error is not None:
                        raise live.error
                    del running[index]
                    yield index, None
            if running and not any(live.has_news for live in running.values()):
                await self.news.wait()
