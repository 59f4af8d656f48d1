"""A tokenizer built from the vocabulary and merges in a GGUF header.

GGUF names the pre-tokenizer (`tokenizer.ggml.pre`) instead of describing it, so each name needs its splitting rules
here; guessing would give other token ids than the model was trained with. Only byte-level BPE (`gpt2`) is built.
"""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from tierline.text.chat import ChatTemplate, usable_template
from tierline.text.gguf_metadata import GGUFMetadata, read_gguf_metadata
from tierline.text.tokenizer import Tokenizer, TokenizerError

_CONTROL = 3
_USER_DEFINED = 4

_GPT4_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def load_gguf_tokenizer(path: Path) -> Tokenizer:
    """Build the tokenizer of the GGUF file `path`; raises `TokenizerError`."""
    metadata = read_gguf_metadata(path)
    tokens = metadata.texts("tokenizer.ggml.tokens")
    architecture = metadata.text("general.architecture")
    return Tokenizer(
        backend=_backend(metadata, tokens),
        eos_ids=_eos_ids(metadata),
        context_tokens=metadata.integer(f"{architecture}.context_length"),
        chat_template=_chat_template(metadata, tokens),
    )


def _backend(metadata: GGUFMetadata, tokens: list[str]) -> tokenizers.Tokenizer:
    kind = metadata.text("tokenizer.ggml.model")
    if kind != "gpt2":
        raise TokenizerError(
            f"{metadata.path} has a {kind!r} tokenizer; use a byte-level BPE one or a Hugging Face folder"
        )
    backend = tokenizers.Tokenizer(_bpe(metadata, tokens))
    _set_splitting(backend, metadata)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(_added(metadata, tokens, _CONTROL, special=True))
    backend.add_tokens(_added(metadata, tokens, _USER_DEFINED, special=False))
    if metadata.flag("tokenizer.ggml.add_bos_token"):
        bos = tokens[metadata.integer("tokenizer.ggml.bos_token_id")]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, metadata.integer("tokenizer.ggml.bos_token_id"))]
        )
    return backend


def _bpe(metadata: GGUFMetadata, tokens: list[str]) -> models.BPE:
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [_pair(merge) for merge in metadata.texts("tokenizer.ggml.merges")]
    # Llama 3's tokenizer takes a word that is a token as it is, even where merging would not reach it.
    whole_words = metadata.text("tokenizer.ggml.pre") == "llama-bpe"
    try:
        return models.BPE(vocab=vocabulary, merges=merges, ignore_merges=whole_words)
    except Exception as error:  # tokenizers raises bare Exception
        raise TokenizerError(f"{metadata.path} has merges outside its vocabulary ({error}); fetch it again") from error


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _set_splitting(backend: tokenizers.Tokenizer, metadata: GGUFMetadata) -> None:
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    match metadata.text("tokenizer.ggml.pre"):
        case "smollm":
            backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
        case "gpt-2":
            backend.pre_tokenizer = words
        case "llama-bpe":
            backend.pre_tokenizer = pre_tokenizers.Sequence([_split(_GPT4_WORDS % "{1,3}"), raw_bytes])
        case "qwen2":
            backend.normalizer = normalizers.NFC()
            backend.pre_tokenizer = pre_tokenizers.Sequence([_split(_GPT4_WORDS % ""), raw_bytes])
        case other:
            raise TokenizerError(
                f"{metadata.path} needs the pre-tokenizer {other!r}; known are smollm, gpt-2, llama-bpe and qwen2: "
                "use the model's Hugging Face folder instead"
            )


def _split(pattern: str) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def _added(metadata: GGUFMetadata, tokens: list[str], kind: int, special: bool) -> list[AddedToken]:
    kinds = metadata.integers("tokenizer.ggml.token_type")
    named = [token for token, of_kind in zip(tokens, kinds, strict=False) if of_kind == kind]
    return [AddedToken(token, special=special, normalized=False) for token in named]


def _eos_ids(metadata: GGUFMetadata) -> frozenset[int]:
    keys = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
    return frozenset(metadata.integer(key) for key in keys if key in metadata.values)


def _chat_template(metadata: GGUFMetadata, tokens: list[str]) -> ChatTemplate | None:
    source = metadata.text("tokenizer.chat_template")
    if not source:
        return None
    bos = metadata.integer("tokenizer.ggml.bos_token_id", -1)
    eos = metadata.integer("tokenizer.ggml.eos_token_id", -1)
    return usable_template(source, tokens[bos] if bos >= 0 else "", tokens[eos] if eos >= 0 else "")
