"""Derive a package list of our own, with sources, from the one the machine already uses.

Both of apt's formats are read: deb822 (`*.sources`) and one-line (`sources.list`, `*.list`). Only entries of the
distribution's own archive matter here, but sorting them out is apt's work, so all enabled entries are kept.
"""

from dataclasses import dataclass
from pathlib import Path

from tierline_devcluster.errors import DevclusterError

APT_FOLDER = Path("/etc/apt")
_DEB = "deb"
_DEB_SRC = "deb-src"


@dataclass(frozen=True, slots=True)
class SourceLists:
    """The text of one deb822 file and of one one-line file; either may be empty."""

    deb822: str
    one_line: str


def lists_with_sources(apt_folder: Path = APT_FOLDER) -> SourceLists:
    """Read the machine's lists and return them with source packages enabled; raises `DevclusterError` without any."""
    parts = apt_folder / "sources.list.d"
    deb822 = [with_deb_src(path.read_text()) for path in sorted(parts.glob("*.sources"))]
    one_line_files = [apt_folder / "sources.list", *sorted(parts.glob("*.list"))]
    one_line = [with_deb_src_lines(path.read_text()) for path in one_line_files if path.is_file()]
    lists = SourceLists("\n".join(filter(None, deb822)), "".join(one_line))
    if not lists.deb822 and not lists.one_line:
        raise DevclusterError(f"no package sources in {apt_folder}; this machine is no Debian, set KUBEBUILDER_ASSETS")
    return lists


def with_deb_src(text: str) -> str:
    """Return the enabled stanzas of a deb822 file, each with `Types: deb deb-src`."""
    kept = []
    for stanza in _stanzas(text):
        fields = {line.split(":", 1)[0].strip().lower(): line.split(":", 1)[-1].strip() for line in stanza}
        if fields.get("enabled", "yes").lower() in {"no", "false", "off", "0"}:
            continue
        if _DEB not in fields.get("types", "").split():
            continue
        kept.append("\n".join(_typed(line) for line in stanza) + "\n")
    return "\n".join(kept)


def with_deb_src_lines(text: str) -> str:
    """Return the enabled binary entries of a one-line list, each once for `deb` and once for `deb-src`."""
    kept = []
    for raw in text.splitlines():
        kind, _, rest = raw.split("#", 1)[0].strip().partition(" ")
        if kind == _DEB:
            kept += [f"{_DEB} {rest.strip()}\n", f"{_DEB_SRC} {rest.strip()}\n"]
    return "".join(kept)


def _stanzas(text: str) -> list[list[str]]:
    stanzas: list[list[str]] = [[]]
    for line in text.splitlines():
        if not line.strip():
            stanzas.append([])
        elif not line.startswith("#"):
            stanzas[-1].append(line)
    return [stanza for stanza in stanzas if stanza]


def _typed(line: str) -> str:
    return f"Types: {_DEB} {_DEB_SRC}" if line.lower().startswith("types:") else line
