"""Single tokens as bytes, for every way in which vocabularies spell them."""

import tokenizers
from fake_wire_worker import letter_tokenizer
from tiny_checkpoint import write_tiny_checkpoint
from tokenizers import decoders, models

from tierline.text.load import load_tokenizer
from tierline.text.token_bytes import TokenBytes
from tierline.text.tokenizer import Tokenizer


def test_byte_level_tokens_joined_are_the_text(tmp_path):
    tokenizer = load_tokenizer(write_tiny_checkpoint(tmp_path / "tiny"))
    found = TokenBytes(tokenizer)
    text = "Ünïcode ✓\n\x00 and 🦙"
    ids = tokenizer.encode(text)
    assert b"".join(found.of(token) for token in ids).decode() == text
    assert [found.of(token) for token in range(256)] != [b""] * 256
    assert found.of(258) == b"<|im_end|>"
    assert found.of(300) == b""


def test_every_byte_is_some_token(tmp_path):
    found = TokenBytes(load_tokenizer(write_tiny_checkpoint(tmp_path / "tiny")))
    assert {found.of(token) for token in range(256)} == {bytes([value]) for value in range(256)}


def test_sentencepiece_spells_spaces_and_bytes_otherwise():
    backend = tokenizers.Tokenizer(models.BPE({"▁the": 0, "<0x0A>": 1, "<0xE2>": 2, "é": 3}, []))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    found = TokenBytes(Tokenizer(backend, frozenset(), 0, None))
    assert [found.of(token) for token in range(4)] == [b" the", b"\n", b"\xe2", "é".encode()]


def test_plain_words_are_themselves():
    assert TokenBytes(letter_tokenizer()).of(3) == b"c"
