"""Token ids into text piece by piece, so that the pieces joined are exactly the text of all ids.

A token is often part of a character, and some decoders treat the first token of a text in a special way. So a window
of ids is decoded again each time: from `_prefix` (ids already given out, for context) over `_read` to the newest. Text
is given out when it does not end in the replacement character, which is how an unfinished character decodes.

A token that is known to add the same text wherever it stands (`token_texts`) needs no decoding while nothing is held
back, which is nearly always: a gateway's time per token would else be mostly this.
"""

from collections.abc import Callable, Sequence

_REPLACEMENT = "�"
_PATIENCE_TOKENS = 16
_LONGEST_CHARACTER_TOKENS = 4


def depends_on_its_place(_token_id: int) -> str | None:
    """Of no token is the text known by itself."""
    return None


class Detokenizer:
    """One answer's text; `decode` is the tokenizer's whole-sequence decoder, `text_of` knows single tokens."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        text_of: Callable[[int], str | None] = depends_on_its_place,
    ) -> None:
        self._decode = decode
        self._text_of = text_of
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0

    def feed(self, token_id: int) -> str:
        """Take one more id and return the text that became certain, often one word, maybe nothing."""
        if self._read == len(self._ids) and (text := self._text_of(token_id)) is not None:
            self._ids, self._prefix, self._read = [token_id], 0, 1
            return text
        self._ids.append(token_id)
        fresh = self._fresh(len(self._ids))
        if fresh and not fresh.endswith(_REPLACEMENT):
            return self._give_out(len(self._ids), fresh)
        if len(self._ids) - self._read > _PATIENCE_TOKENS:
            return self._cut_broken_bytes()
        return ""

    def flush(self) -> str:
        """Return what is left at the end of the answer; an unfinished character comes as U+FFFD."""
        if self._read == len(self._ids):
            return ""
        return self._give_out(len(self._ids), self._fresh(len(self._ids)))

    def _fresh(self, end: int) -> str:
        known = self._decode(self._ids[self._prefix : self._read])
        return self._decode(self._ids[self._prefix : end])[len(known) :]

    def _give_out(self, end: int, fresh: str) -> str:
        # A window that decodes to nothing gives no context, so it must not become the prefix.
        if fresh:
            self._prefix, self._read = self._read, end
        return fresh

    def _cut_broken_bytes(self) -> str:
        """Bytes that never become a character: give out up to a place where cutting changes nothing.

        Without this a model that emits broken bytes would make the window, and the time per token, grow for ever.
        """
        whole = self._fresh(len(self._ids))
        newest = len(self._ids)
        for end in range(newest - 1, newest - 1 - _LONGEST_CHARACTER_TOKENS, -1):
            head = self._fresh(end)
            if head + self._decode(self._ids[end:]) == whole:
                return self._give_out(end, head)
        return ""
