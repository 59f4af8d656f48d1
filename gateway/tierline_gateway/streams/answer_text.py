"""An answer's text as it becomes certain, from ids to pieces that may be shown."""

from collections.abc import Callable, Sequence

from tierline.text.detokenizer import Detokenizer, depends_on_its_place
from tierline.text.stops import StopWindow


class AnswerText:
    """Detokenizer and stop window of one request. After a stop string nothing more is taken.

    Text of the first `min_tokens` tokens is not searched for stop strings.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str],
        min_tokens: int = 0,
        text_of: Callable[[int], str | None] = depends_on_its_place,
    ) -> None:
        self._detokenizer = Detokenizer(decode, text_of)
        self._stops = StopWindow(stops)
        self._can_stop = bool(stops)
        self._unstoppable_tokens = min_tokens
        self.stopped = False

    def feed(self, token_id: int) -> str:
        """Return the text that may be shown now; `stopped` tells whether a stop string ended the answer."""
        fresh = self._detokenizer.feed(token_id)
        if not self._can_stop:
            return fresh
        if self._unstoppable_tokens:
            self._unstoppable_tokens -= 1
            return fresh
        result = self._stops.feed(fresh)
        self.stopped = result.stopped
        return result.text

    def finish(self) -> str:
        """Return the rest, when the answer ended by itself."""
        if self.stopped:
            return ""
        result = self._stops.feed(self._detokenizer.flush())
        self.stopped = result.stopped
        return result.text if result.stopped else result.text + self._stops.flush()
