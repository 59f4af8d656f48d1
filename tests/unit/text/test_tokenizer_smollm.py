"""The tokenizer built from GGUF metadata, on the real model's vocabulary."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tierline.text.detokenizer import Detokenizer
from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer, TokenizerError

pytestmark = pytest.mark.model

TEXTS = [
    "Hello world",
    "  two  spaces\n\n\tand tabs ",
    "In 2024, 1234567 people's dogs weren't 3.14 years old",
    "naïve café 日本語 \U0001f600\U0001f468‍\U0001f469‍\U0001f467",
    "<|im_start|>user\nHi<|im_end|>\n",
    "def f(x):\n    return x**2  # square\n",
    "",
]
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2? 日本"}]


@pytest.fixture(scope="session")
def hf_folder(smollm: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    smollm.backend.save(str(folder / "tokenizer.json"))
    assert smollm.chat_template is not None
    config = {
        "tokenizer_class": "GPT2TokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "chat_template": smollm.chat_template.source,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192, "model_type": "llama"}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    return folder


@pytest.fixture(scope="module")
def theirs(hf_folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(hf_folder)


@pytest.fixture(scope="module")
def ours(hf_folder: Path) -> Tokenizer:
    return load_tokenizer(hf_folder)


def test_header_values_are_read(smollm: Tokenizer) -> None:
    assert smollm.eos_ids == {2}
    assert smollm.context_tokens == 8192
    assert smollm.vocabulary_size == 49152


def test_digits_are_single_tokens_and_specials_are_whole(smollm: Tokenizer) -> None:
    assert len(smollm.encode("123456")) == 6
    assert smollm.encode("<|im_end|>") == (2,)


def test_known_ids_of_the_published_model(smollm: Tokenizer) -> None:
    assert smollm.encode("Hello world") == (19556, 905)


@pytest.mark.parametrize("text", [text for text in TEXTS if "<|" not in text])
def test_text_survives_a_round_trip(smollm: Tokenizer, text: str) -> None:
    assert smollm.decode(smollm.encode(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_those_of_transformers(ours: Tokenizer, theirs: PreTrainedTokenizerBase, text: str) -> None:
    assert list(ours.encode(text)) == theirs(text)["input_ids"]
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs(text)["input_ids"], skip_special_tokens=True)


def test_chat_prompt_equals_that_of_transformers(ours: Tokenizer, theirs: PreTrainedTokenizerBase) -> None:
    assert ours.chat_template is not None
    rendered = ours.chat_template.render(MESSAGES)
    assert rendered == theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert list(ours.encode_rendered(rendered)) == theirs(rendered, add_special_tokens=False)["input_ids"]


def test_every_way_to_declare_the_end_is_heard(ours: Tokenizer) -> None:
    assert ours.eos_ids == {0, 2}


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(st.integers(0, 49151), max_size=60))
def test_pieces_joined_are_the_whole_text(smollm: Tokenizer, ids: list[int]) -> None:
    for detokenizer in (Detokenizer(smollm.decode), Detokenizer(smollm.decode, smollm.texts.of)):
        pieces = [detokenizer.feed(token_id) for token_id in ids] + [detokenizer.flush()]
        assert "".join(pieces) == smollm.decode(ids)


def test_most_tokens_need_no_decoder(smollm: Tokenizer) -> None:
    """What is known of single tokens is what the decoder says of them, also after others."""
    known = [token_id for token_id in range(smollm.vocabulary_size) if smollm.texts.of(token_id) is not None]
    assert len(known) > 0.95 * smollm.vocabulary_size
    texts = [str(smollm.texts.of(token_id)) for token_id in known]
    assert "".join(texts) == smollm.decode(known)
    assert [smollm.decode([token_id]) for token_id in known[::7]] == texts[::7]
    assert smollm.texts.of(smollm.encode("\U0001f525")[0]) is None


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=80))
def test_valid_text_never_shows_a_broken_character(smollm: Tokenizer, text: str) -> None:
    plain = text.replace("�", "")
    # A few bytes of rare scripts are missing from the vocabulary and vanish when encoded.
    assume(smollm.decode(smollm.encode(plain)) == plain)
    detokenizer = Detokenizer(smollm.decode)
    pieces = [detokenizer.feed(token_id) for token_id in smollm.encode(plain)]
    assert not any("�" in piece for piece in pieces)


def test_broken_bytes_do_not_pile_up(smollm: Tokenizer) -> None:
    lone_byte = smollm.backend.token_to_id("ð")
    assert lone_byte is not None
    fire = smollm.encode("\U0001f525")
    ids = [lone_byte] * 300 + list(fire) + [lone_byte, fire[0]]
    longest = 0

    def decode(window: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(window))
        return smollm.decode(window)

    detokenizer = Detokenizer(decode)
    pieces = [detokenizer.feed(token_id) for token_id in ids] + [detokenizer.flush()]
    assert "".join(pieces) == smollm.decode(ids)
    assert longest < 64


def test_a_cut_off_file_is_called_corrupt(smollm_path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm_path.read_bytes()[:5000])
    with pytest.raises(TokenizerError, match="corrupt GGUF"):
        load_tokenizer(cut)
