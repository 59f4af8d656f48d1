"""One door to both kinds of tokenizer files."""

from pathlib import Path

from tierline.text.gguf_tokenizer import load_gguf_tokenizer
from tierline.text.hf_tokenizer import load_hf_tokenizer
from tierline.text.tokenizer import Tokenizer


def load_tokenizer(model_path: Path) -> Tokenizer:
    """Load the tokenizer of a `.gguf` file or a Hugging Face folder; raises `TokenizerError`. Blocks about a second."""
    return load_hf_tokenizer(model_path) if model_path.is_dir() else load_gguf_tokenizer(model_path)
