"""A model's tokenizer, exactly the one it was trained with, wherever its files come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import tokenizers

from tierline.text.chat import ChatTemplate
from tierline.text.known_parts import KnownParts
from tierline.text.token_texts import TokenTexts


class TokenizerError(ValueError):
    """The model's files hold no tokenizer that we can build; the message names the file and the fix."""


@dataclass(frozen=True)
class Tokenizer:
    """Token ids of a text and the text of token ids.

    `eos_ids` end an answer. `context_tokens` is the model's trained window (prompt and answer together), 0 when the
    files do not say. `chat_template` is None for base models and where it cannot be compiled. `texts` are those of
    single tokens, where they are the same in every place.
    """

    backend: tokenizers.Tokenizer
    eos_ids: frozenset[int]
    context_tokens: int
    chat_template: ChatTemplate | None
    texts: TokenTexts = field(init=False, repr=False, compare=False)
    _parts: KnownParts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", TokenTexts(self))
        object.__setattr__(self, "_parts", KnownParts(self.backend))

    def encode(self, text: str) -> tuple[int, ...]:
        """Encode a plain prompt, with the special tokens that the model expects around it (such as BOS)."""
        return tuple(self.backend.encode(text, add_special_tokens=True).ids)

    def encode_rendered(self, text: str) -> tuple[int, ...]:
        """Encode the output of a chat template, which already wrote every special token it wants."""
        return self._parts.ids(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text, without special tokens; bytes that are no UTF-8 become U+FFFD."""
        return self.backend.decode(list(token_ids), skip_special_tokens=True)

    @cached_property
    def longest_token_characters(self) -> int:
        """The most characters that one token stands for; a byte-level spelling has at least one for each of them."""
        return max(map(len, self.backend.get_vocab(with_added_tokens=True)))

    @cached_property
    def vocabulary_size(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)
