"""A Redis server for machines that have none: Debian's, unpacked with its libraries, started by a script beside it."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tierline.artifacts.locking import file_lock
from tierline_devcluster.provision.apt import PackageArchive
from tierline_devcluster.provision.build_log import BuildLog
from tierline_devcluster.provision.caching import appearing_whole

_PACKAGE: Final = "redis-server"
_TOOLS: Final = "redis-tools"
"""Debian keeps the program itself here; the server's package links to it."""
_SCRIPT: Final = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(echo "$here"/packages/usr/lib/*-linux-gnu) exec "$here/packages/usr/bin/redis-server" "$@"
"""


def redis_server_path(cache: Path) -> Path:
    """Return `redis-server`: `$REDIS_SERVER`, the one on the PATH, or the cached one, fetched once below `cache`.

    Raises `BuildError`.
    """
    given = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if given:
        return Path(given)
    folder = cache / "tools" / "redis"
    with file_lock(cache / "tools" / ".redis.lock"):
        if not folder.is_dir():
            with appearing_whole(folder) as scratch:
                _fetch(scratch)
    return folder / "redis-server"


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        archive = PackageArchive(Path(work) / "apt", BuildLog(folder / "fetch.log"))
        archive.update()
        archive.unpack([_PACKAGE, _TOOLS, *archive.dependencies(_TOOLS)], folder / "packages")
    script = folder / "redis-server"
    script.write_text(_SCRIPT)
    script.chmod(0o755)
