"""An answer's text as it becomes certain, from ids to pieces that may be shown."""

from collections.abc import Callable, Sequence

from tierline.text.detokenizer import Detokenizer
from tierline.text.stops import StopWindow


class AnswerText:
    """Detokenizer and stop window of one request. After a stop string nothing more is taken."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._detokenizer = Detokenizer(decode)
        self._stops = StopWindow(stops)
        self.stopped = False

    def feed(self, token_id: int) -> str:
        """Return the text that may be shown now; `stopped` tells whether a stop string ended the answer."""
        result = self._stops.feed(self._detokenizer.feed(token_id))
        self.stopped = result.stopped
        return result.text

    def finish(self) -> str:
        """Return the rest, when the answer ended by itself."""
        if self.stopped:
            return ""
        result = self._stops.feed(self._detokenizer.flush())
        self.stopped = result.stopped
        return result.text if result.stopped else result.text + self._stops.flush()
