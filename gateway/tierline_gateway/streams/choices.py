"""Which requests are choices of the same answer."""

from collections.abc import Iterator

from tierline_gateway.streams.live import LiveRequest


class Choices:
    """The answers that have more than one choice, by the id of their first."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[LiveRequest, ...]] = {}

    def join(self, first: LiveRequest, forks: tuple[LiveRequest, ...]) -> None:
        self._answers[first.request_id] = (first, *forks)

    def forget(self, first: LiveRequest) -> None:
        self._answers.pop(first.request_id, None)

    def beside(self, live: LiveRequest) -> Iterator[LiveRequest]:
        """Return the other choices of the same answer."""
        answer = self._answers.get(live.fork_of or live.request_id, ())
        return (other for other in answer if other is not live)
