"""Locks between processes: many workers that start at once fetch a model only once, and nobody's files are taken away.

The kernel frees a lock when its holder dies, whatever it died of.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created when absent)."""
    with hold(path):
        yield


def hold(path: Path, *, shared: bool = False) -> TextIOWrapper:
    """Return the locked file, created when absent; it is let go by closing it. Waits for others."""
    while True:
        held = _opened(path)
        fcntl.flock(held, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if _is_still(held, path):
            return held
        held.close()


def try_hold(path: Path) -> TextIOWrapper | None:
    """The same, exclusively and without waiting; None while anybody else holds it."""
    held = _opened(path)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    if _is_still(held, path):
        return held
    held.close()
    return None


def _opened(path: Path) -> TextIOWrapper:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a", encoding="utf-8")


def _is_still(held: TextIOWrapper, path: Path) -> bool:
    """Whether the file that was locked still bears its name: whoever held it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), path.stat())
    except FileNotFoundError:
        return False
