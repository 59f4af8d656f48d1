"""A tokenizer read from a Hugging Face model folder (`tokenizer.json` and the configuration files beside it)."""

import json
from pathlib import Path

import tokenizers

from tierline.text.chat import ChatTemplate, usable_template
from tierline.text.tokenizer import Tokenizer, TokenizerError


def load_hf_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of `folder`; raises `TokenizerError`."""
    backend = _backend(folder / "tokenizer.json")
    config = _read_json(folder / "tokenizer_config.json")
    return Tokenizer(
        backend=backend,
        eos_ids=_eos_ids(folder, backend, config),
        context_tokens=_integer(_read_json(folder / "config.json").get("max_position_embeddings")),
        chat_template=_chat_template(folder, config),
    )


def _backend(path: Path) -> tokenizers.Tokenizer:
    if not path.is_file():
        raise TokenizerError(f"{path} does not exist; save the model with its fast tokenizer (tokenizer.json)")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise TokenizerError(f"{path} is no tokenizer that the tokenizers library reads ({error})") from error


def _read_json(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise TokenizerError(f"{path} is not valid JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def _eos_ids(folder: Path, backend: tokenizers.Tokenizer, config: dict[str, object]) -> frozenset[int]:
    """Collect every id that ends an answer: chat models often end a turn with another token than a document."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        declared = _read_json(folder / name).get("eos_token_id")
        listed = declared if isinstance(declared, list) else [declared]
        found.update(item for item in listed if isinstance(item, int))
    own = backend.token_to_id(_token_text(config.get("eos_token")))
    return frozenset(found if own is None else found | {own})


def _chat_template(folder: Path, config: dict[str, object]) -> ChatTemplate | None:
    source = _template_source(folder, config.get("chat_template"))
    if not source:
        return None
    return usable_template(source, _token_text(config.get("bos_token")), _token_text(config.get("eos_token")))


def _template_source(folder: Path, declared: object) -> str:
    separate = folder / "chat_template.jinja"
    if separate.is_file():
        return separate.read_text()
    if isinstance(declared, str):
        return declared
    named = declared if isinstance(declared, list) else []
    return next((str(item.get("template", "")) for item in named if item.get("name") == "default"), "")


def _token_text(declared: object) -> str:
    content = declared.get("content") if isinstance(declared, dict) else declared
    return content if isinstance(content, str) else ""


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
