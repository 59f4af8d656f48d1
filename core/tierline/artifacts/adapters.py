"""Where an adapter's files come from: a folder, or a repository of the Hugging Face hub.

Whoever names a source at run time reads what the worker can read, so what may be named is a list of the operator's:
folders, and beginnings of hub sources. Paths are resolved first; neither `..` nor a link leads out of the folders.
"""

from collections.abc import Sequence
from pathlib import Path

from tierline.artifacts.hub import hub_fetching
from tierline.artifacts.source import HubSource, LocalSource, ModelSourceError, parse_source
from tierline.artifacts.weights_store import OpenedWeights, WeightsStore

FORMS = "hf://ORG/NAME[?revision=REV], file:///PATH or /PATH"
_FILES = ("adapter_config.json", "adapter_model.safetensors")


class AdapterSourceError(ValueError):
    """A source of an adapter that is malformed, not allowed or cannot be had; one line with the fix."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"lora_path {source!r}: {problem}")


def resolve_adapter(source: str, store: WeightsStore, allowed: Sequence[str] | None = None) -> OpenedWeights:
    """Return the folder that holds the adapter `source`, fetching it when needed; raises `AdapterSourceError`.

    Its files stay while what is returned is held. `allowed` are absolute folders and beginnings of hub sources, None
    allows all: for sources that the operator wrote.
    Blocks (network, disk).
    """
    try:
        parsed = parse_source(source)
        if isinstance(parsed, LocalSource):
            return OpenedWeights(_local(source, parsed.path, allowed))
        if isinstance(parsed, HubSource):
            return _hub(source, parsed, store, allowed)
    except ModelSourceError as error:
        raise AdapterSourceError(source, f"use one of {FORMS} ({error.problem})") from error
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, AdapterSourceError):
            raise
        raise AdapterSourceError(source, f"its files cannot be read or kept here: {error}") from error
    raise AdapterSourceError(source, f"use one of {FORMS}")


def _local(source: str, path: Path, allowed: Sequence[str] | None) -> Path:
    folder = path.resolve()
    if allowed is not None:
        roots = [Path(entry).resolve() for entry in allowed if entry.startswith("/")]
        for inside in (folder, *((folder / name).resolve() for name in _FILES)):
            if not any(inside.is_relative_to(root) for root in roots):
                raise AdapterSourceError(source, _not_allowed(allowed))
    if not folder.is_dir():
        raise AdapterSourceError(source, "there is no such folder; mount it or correct the path")
    return folder


def _hub(source: str, parsed: HubSource, store: WeightsStore, allowed: Sequence[str] | None) -> OpenedWeights:
    named = f"hf://{parsed.repository}"
    if allowed is not None and not any(_covers(entry, named) for entry in allowed if entry.startswith("hf://")):
        raise AdapterSourceError(source, _not_allowed(allowed))
    if any(part in ("", ".", "..") for part in parsed.repository.split("/")) or ".." in parsed.revision:
        raise AdapterSourceError(source, "a hub source needs an organisation and a name, like hf://org/name")
    return store.open(hub_fetching(source, parsed, "adapters"))


def _covers(entry: str, named: str) -> bool:
    """Whether an allowed `hf://org/` (or `hf://org/name`, or `hf://` for all) covers a repository."""
    return named == entry or (entry.endswith("/") and named.startswith(entry))


def _not_allowed(allowed: Sequence[str]) -> str:
    listed = ", ".join(allowed) or "none"
    return f"it is not among the allowed sources ({listed}); see TIERLINE_ADAPTER_SOURCES"
