"""The control plane's programs: taken from `KUBEBUILDER_ASSETS`, from the cache, or built once from Debian's source."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tierline.artifacts.locking import file_lock
from tierline_devcluster.errors import DevclusterError
from tierline_devcluster.progress import Reporter
from tierline_devcluster.provision.caching import appearing_whole
from tierline_devcluster.provision.kubernetes_build import BUILD_PREFIX, KUBERNETES_RELEASE, build_control_plane
from tierline_devcluster.provision.versions import KubernetesVersion, parse_version

ASSETS_ENV = "KUBEBUILDER_ASSETS"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class MissingBinaries(DevclusterError):
    """Programs are missing and cannot be had; the message names them."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """Paths of the programs; `prometheus` is None where none was found beside given assets."""

    etcd: Path
    api_server: Path
    controller_manager: Path
    scheduler: Path
    prometheus: Path | None
    version: KubernetesVersion


def obtain_binaries(cache: Path, reporter: Reporter) -> Binaries:
    """Return the programs, building them below `cache` first if neither assets nor cache has them.

    Raises `MissingBinaries` when `KUBEBUILDER_ASSETS` lacks a program, `BuildError` when a build step fails.
    """
    assets = os.environ.get(ASSETS_ENV)
    if assets:
        return _described(Path(assets), cache)
    folder = cached_folder(cache)
    with file_lock(cache / "kubernetes" / "lock"):
        if not folder.is_dir():
            _remove_unfinished(folder)
            with appearing_whole(folder) as scratch:
                build_control_plane(scratch, reporter)
    return _described(folder, cache)


def cached_folder(cache: Path) -> Path:
    """Return where the built programs are kept."""
    return cache / "kubernetes" / KUBERNETES_RELEASE


def _remove_unfinished(folder: Path) -> None:
    # Under the lock nobody builds, so what is left here belongs to builds that were killed.
    for pattern in (f"{BUILD_PREFIX}*/", f".{folder.name}.*/"):
        for leftover in folder.parent.glob(pattern):
            shutil.rmtree(leftover)


def _described(folder: Path, cache: Path) -> Binaries:
    missing = [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise MissingBinaries(
            f"{folder} lacks {', '.join(missing)}; put {'them' if len(missing) > 1 else 'it'} there "
            f"(all of one Kubernetes version), or unset {ASSETS_ENV} to use the built-in {KUBERNETES_RELEASE}"
        )
    etcd, api_server, controller_manager, scheduler = (folder / name for name in PROGRAMS)
    prometheus = _first_executable(folder / "prometheus", cached_folder(cache) / "prometheus")
    return Binaries(etcd, api_server, controller_manager, scheduler, prometheus, _version_of(api_server))


def _first_executable(*candidates: Path) -> Path | None:
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    found = shutil.which("prometheus")
    return Path(found) if found else None


def _version_of(api_server: Path) -> KubernetesVersion:
    try:
        answer = subprocess.run([api_server, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingBinaries(f"{api_server} does not run: {error}") from error
    return parse_version(answer.stdout)
