"""The text of single tokens, for vocabularies in which it is the same wherever a token stands.

With GPT-2's byte-level decoder the text of ids is the UTF-8 of their bytes, one after the other. So a token whose
bytes are whole characters adds the same text after any other, and no decoder need run for it. Most tokens are such.
For the others (parts of characters, tokens added to the vocabulary, any token of another kind of vocabulary) the answer
is None: decode them in their place.
"""

from tierline.text.token_bytes import HasBackend, TokenBytes


class TokenTexts:
    """Looks up texts, each once; bounded by the vocabulary."""

    def __init__(self, tokenizer: HasBackend) -> None:
        self._bytes = TokenBytes(tokenizer)
        self._added = tokenizer.backend.get_added_tokens_decoder()
        # A sequence of decoders may strip or replace across tokens.
        self._alike_everywhere = repr(tokenizer.backend.decoder).startswith("ByteLevel(")
        self._known: dict[int, str | None] = {}

    def of(self, token_id: int) -> str | None:
        """Return what the token adds to a text that ends with whole characters; None: it depends, or is not known."""
        try:
            return self._known[token_id]
        except KeyError:
            return self._known.setdefault(token_id, self._found(token_id))

    def _found(self, token_id: int) -> str | None:
        if not self._alike_everywhere:
            return None
        added = self._added.get(token_id)
        if added is not None:
            return "" if added.special else None
        try:
            return self._bytes.of(token_id).decode()
        except UnicodeDecodeError:
            return None
