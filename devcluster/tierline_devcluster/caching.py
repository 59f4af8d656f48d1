"""The cache on disk: where it is, one builder at a time, and folders that appear whole or not at all."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_ENV = "TIERLINE_CACHE_DIR"


def cache_root() -> Path:
    """Return the cache folder: `TIERLINE_CACHE_DIR`, else `~/.cache/tierline`."""
    override = os.environ.get(CACHE_ENV)
    return Path(override).resolve() if override else Path.home() / ".cache" / "tierline"


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold `lock_file` against other processes; the kernel frees it even when the holder is killed."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def appearing_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` if the block succeeds and vanishes if it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
