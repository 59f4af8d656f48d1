"""Ids of a text from its parts are the tokenizer's own, whatever the vocabulary; a part is encoded once."""

from collections.abc import Callable

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from tierline.text.known_parts import KnownParts

CHAT = ["<|im_start|>", "<|im_end|>", "<s>"]
ALPHABET = [*map(chr, range(97, 123)), " ", "\n", "<", "|", ">", "_", "▁"]
PIECES = [*CHAT, "user", " ", "\n", "ab", "a", "<|", "|>", "im_start", "<mask>", "x<s"]


def byte_level() -> tokenizers.Tokenizer:
    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {letter: at for at, letter in enumerate(sorted(letters))}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary | {"ab": len(vocabulary)}, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return backend


def metaspace() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.Unigram([("?", 0.0), ("ab", -1.0), *((one, -2.0) for one in ALPHABET)], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return backend


def prepending() -> tokenizers.Tokenizer:
    backend = byte_level()
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("_"), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


def with_added(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    backend.add_special_tokens([AddedToken(one, normalized=False, special=True) for one in CHAT])
    backend.add_special_tokens(
        [AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("x<s", normalized=False)]
    )
    return backend


@pytest.mark.parametrize("make", [byte_level, metaspace, prepending])
def test_the_parts_ids_are_the_texts(make: Callable[[], tokenizers.Tokenizer]) -> None:
    backend = with_added(make())
    known = KnownParts(backend)

    @given(st.lists(st.sampled_from(PIECES), max_size=30))
    def alike(drawn: list[str]) -> None:
        text = "".join(drawn)
        assert known.ids(text) == tuple(backend.encode(text, add_special_tokens=False).ids)

    alike()


class Counting:
    """A backend that tells what it was asked to encode."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self.asked: list[str] = []

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return self._backend.get_added_tokens_decoder()

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool) -> list[tokenizers.Encoding]:
        self.asked += texts
        return self._backend.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


def test_only_the_new_turn_of_a_conversation_is_encoded() -> None:
    backend = Counting(with_added(byte_level()))
    known = KnownParts(backend)  # type: ignore[arg-type]
    known.ids("<|im_start|>be kind<|im_end|><|im_start|>hello<|im_end|>")
    backend.asked.clear()
    known.ids("<|im_start|>be kind<|im_end|><|im_start|>hello<|im_end|><|im_start|>and now?<|im_end|>")
    assert backend.asked == ["<|im_start|>and now?"]


def test_what_was_not_used_for_longest_is_forgotten_first() -> None:
    backend = Counting(with_added(byte_level()))
    known = KnownParts(backend, most_characters=12)  # type: ignore[arg-type]
    for text in ("<s>aaa", "<s>bbb", "<s>aaa", "<s>ccc", "<s>aaa", "<s>bbb"):
        known.ids(text)
    assert backend.asked == ["<s>aaa", "<s>bbb", "<s>ccc", "<s>bbb"]


def test_a_text_longer_than_all_that_is_remembered_is_encoded_all_the_same() -> None:
    backend = with_added(byte_level())
    assert KnownParts(backend, most_characters=3).ids("<s>abcab") == tuple(backend.encode("<s>abcab").ids)
