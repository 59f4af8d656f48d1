"""A tokenizer with one token per byte, for answers that are written out."""

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from tierline.text.chat import ChatTemplate
from tierline.text.tokenizer import Tokenizer

WINDOW_TOKENS = 4096


def character_tokenizer(template: str) -> Tokenizer:
    """Return a tokenizer whose id 0 ends an answer, with a chat template of this source."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<eos>": 0} | {character: 1 + at for at, character in enumerate(alphabet)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<eos>"])
    return Tokenizer(backend, frozenset({0}), WINDOW_TOKENS, ChatTemplate(template))
