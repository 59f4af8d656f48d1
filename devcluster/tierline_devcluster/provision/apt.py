"""Fetch Debian packages into folders of our own: nothing is installed, no service starts, no rights are needed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tierline_devcluster.provision.apt_sources import lists_with_sources
from tierline_devcluster.provision.build_log import BuildError, BuildLog

_NEEDED = ("apt-get", "apt-cache", "dpkg-deb")


class PackageArchive:
    """The distribution's archive as seen through package lists kept below `folder`."""

    def __init__(self, folder: Path, log: BuildLog) -> None:
        self._folder = folder
        self._log = log
        self._options = _private_lists(folder)

    def update(self) -> None:
        """Read the archive's indexes; needs to be called first."""
        missing = [name for name in _NEEDED if shutil.which(name) is None]
        if missing:
            raise BuildError(
                f"{', '.join(missing)} not found: building Kubernetes needs Debian's tools; "
                "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler"
            )
        self._log.run(["apt-get", *self._options, "update"], cwd=self._folder)

    def dependencies(self, package: str) -> list[str]:
        """Return the names of the real packages that `package` depends on."""
        answer = self._log.run(["apt-cache", *self._options, "depends", "--important", package], cwd=self._folder)
        lines = [line.strip() for line in answer.splitlines()]
        names = [line.partition("Depends:")[2].strip() for line in lines if line.startswith("Depends:")]
        return [name for name in names if not name.startswith("<")]

    def unpack(self, packages: Sequence[str], target: Path) -> None:
        """Download binary packages and unpack their files below `target`."""
        downloads = _fresh(self._folder / "downloads")
        self._log.run(["apt-get", *self._options, "download", *packages], cwd=downloads)
        for package in sorted(downloads.glob("*.deb")):
            self._log.run(["dpkg-deb", "--extract", str(package), str(target)], cwd=self._folder)

    def source_tarball(self, package: str) -> Path:
        """Download a source package; return the path of its upstream tarball."""
        downloads = _fresh(self._folder / "sources")
        self._log.run(["apt-get", *self._options, "source", "--download-only", package], cwd=downloads)
        found = sorted(downloads.glob(f"{package}_*.orig.tar.*"))
        if not found:
            raise BuildError(f"the source package {package} has no upstream tarball; log: {self._log.path}")
        return found[0]


def _private_lists(folder: Path) -> list[str]:
    lists = lists_with_sources()
    parts, state = folder / "parts", folder / "lists"
    parts.mkdir(parents=True)
    (state / "partial").mkdir(parents=True)
    (parts / "devcluster.sources").write_text(lists.deb822)
    (parts / "devcluster.list").write_text(lists.one_line)
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": parts,
        "Dir::State::Lists": state,
        "Dir::Cache": folder / "cache",
        # Without root there is no other user to download as.
        "APT::Sandbox::User": "",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
