"""Fetch a Hugging Face repository's weights, configuration and tokenizer."""

import re
from pathlib import Path

import huggingface_hub

from tierline.artifacts.source import HubSource, ModelSourceError
from tierline.artifacts.weights_store import Fetching

PATTERNS = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_fetching(text: str, source: HubSource, kind: str) -> Fetching:
    """Return how a repository is found and fetched; `kind` is the folder below the cache, models or adapters.

    Only a commit never changes: with a branch or a tag the hub is asked at each start, and when it cannot be reached
    what is here is taken. Raises `ModelSourceError` for names that lead out of the cache.
    """
    parts = (*source.repository.split("/"), *source.revision.split("/"))
    if any(part in (".", "..") for part in parts) or source.revision.startswith("/"):
        raise ModelSourceError(text, "name and revision take no empty parts, '.' or '..'")
    is_fixed = _COMMIT.fullmatch(source.revision) is not None
    return Fetching(
        text,
        f"{kind}/hf/{source.repository.replace('/', '--')}/{source.revision or 'main'}",
        find=lambda home: home if is_fixed else None,
        fetch=lambda home: fetch_repository(text, source, home),
    )


def fetch_repository(text: str, source: HubSource, home: Path) -> Path:
    """Return the folder `home` with the repository's files; raises `ModelSourceError`.

    `snapshot_download` resumes and swaps files in atomically by itself.
    """
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
