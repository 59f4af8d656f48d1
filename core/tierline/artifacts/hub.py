"""Fetch a Hugging Face repository's weights, configuration and tokenizer."""

from pathlib import Path

import huggingface_hub

from tierline.artifacts.source import HubSource, ModelSourceError

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")


def fetch_repository(text: str, source: HubSource, models_dir: Path) -> Path:
    """Return a local folder with the repository's files; raises `ModelSourceError`.

    `snapshot_download` locks, resumes and swaps files in atomically by itself.
    """
    home = models_dir / "hf" / source.repository.replace("/", "--") / (source.revision or "main")
    try:
        folder = huggingface_hub.snapshot_download(
            source.repository,
            revision=source.revision or None,
            local_dir=home,
            allow_patterns=list(PATTERNS),
        )
    except (OSError, ValueError) as error:
        raise ModelSourceError(text, f"the hub did not give it, check name, revision and HF_TOKEN: {error}") from error
    return Path(folder)
