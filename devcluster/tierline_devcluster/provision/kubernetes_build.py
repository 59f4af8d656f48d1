"""Build the control plane from Debian's packages: its source of Kubernetes, its Go compiler, its etcd and Prometheus.

All of it happens in folders of our own, so it works as a plain user and installs nothing.
"""

import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tierline_devcluster.progress import Reporter, step
from tierline_devcluster.provision.apt import PackageArchive
from tierline_devcluster.provision.build_log import BuildError, BuildLog
from tierline_devcluster.provision.go_workspace import GoWorkspace
from tierline_devcluster.provision.openapi_packages import openapi_packages

KUBERNETES_RELEASE = "1.20.2"
BUILD_PREFIX = ".build."
KUBE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
READY_PROGRAMS = ("etcd", "prometheus", "promtool")
_PACKAGES = ("etcd-server", "prometheus", "golang-github-modern-go-reflect2-dev")
_REFLECT2 = "github.com/modern-go/reflect2"
_OPENAPI = "pkg/generated/openapi"
# The programs say the first one's version with --version, the API says the second one's at /version.
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_IMPORT_PREFIXES = ("", "k8s.io/kubernetes/vendor/")
_GO_PACKAGE = re.compile(r"golang-(\d+\.\d+)-go$")


@dataclass(frozen=True, slots=True)
class _Site:
    """The folders of one build; `packages` is where Debian's packages are unpacked."""

    work: Path
    packages: Path
    log: BuildLog


def build_control_plane(target: Path, reporter: Reporter) -> None:
    """Put the programs of Kubernetes `KUBERNETES_RELEASE`, etcd and Prometheus into `target`; raises `BuildError`.

    The log and, while it lasts, the work (2 GB) lie beside `target`.
    """
    log = BuildLog(target.parent / "build.log")
    with tempfile.TemporaryDirectory(prefix=BUILD_PREFIX, dir=target.parent) as scratch:
        _build(_Site(Path(scratch), Path(scratch) / "packages", log), target, reporter)


def _build(site: _Site, target: Path, reporter: Reporter) -> None:
    archive = PackageArchive(site.work / "apt", site.log)
    with step(reporter, "read Debian's package lists"):
        site.packages.mkdir()
        archive.update()
    with step(reporter, "fetch etcd, Prometheus and the Go compiler"):
        go = _fetch_packages(archive, site)
    with step(reporter, f"fetch the source of Kubernetes {KUBERNETES_RELEASE}"):
        workspace = GoWorkspace(site.work / "go", go, site.log)
        _unpack_source(archive.source_tarball("kubernetes"), workspace)
        _replace_reflect2(site, workspace)
    with step(reporter, "generate the API descriptions"):
        _generate_openapi(workspace)
    for program in KUBE_PROGRAMS:
        with step(reporter, f"compile {program}"):
            workspace.build(f"./cmd/{program}", target / program, version_flags())
    for program in READY_PROGRAMS:
        shutil.copy2(site.packages / "usr/bin" / program, target / program)


def version_flags() -> str:
    """Return the linker flags that tell the programs their version; without them Helm sees v0.0.0."""
    major, minor, _ = KUBERNETES_RELEASE.split(".")
    values = {"gitVersion": f"v{KUBERNETES_RELEASE}", "gitMajor": major, "gitMinor": minor}
    packages = [f"{prefix}{package}" for package in _VERSION_PACKAGES for prefix in _IMPORT_PREFIXES]
    settings = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    return " ".join(["-s", "-w", *settings])


def upstream_version(tarball_name: str) -> str:
    """Return `1.20.2` of `kubernetes_1.20.5+really1.20.2.orig.tar.gz`."""
    version = tarball_name.partition("_")[2].partition(".orig.")[0]
    return version.rpartition("really")[2].partition("+")[0]


def _fetch_packages(archive: PackageArchive, site: _Site) -> Path:
    matches = [match for name in archive.dependencies("golang-go") if (match := _GO_PACKAGE.match(name))]
    if not matches:
        raise BuildError(f"Debian's golang-go depends on no golang-X.Y-go package; log: {site.log.path}")
    release = matches[0][1]
    archive.unpack([*_PACKAGES, f"golang-{release}-go", f"golang-{release}-src"], site.packages)
    return site.packages / "usr/lib" / f"go-{release}"


def _unpack_source(tarball: Path, workspace: GoWorkspace) -> None:
    found = upstream_version(tarball.name)
    if found != KUBERNETES_RELEASE:
        raise BuildError(
            f"this Debian has the source of Kubernetes {found}, but only {KUBERNETES_RELEASE} is known to build; "
            "set KUBEBUILDER_ASSETS to a folder with ready programs"
        )
    unpacked = workspace.root / "unpacked"
    with tarfile.open(tarball) as archive:
        archive.extractall(unpacked, filter="data")
    (top,) = unpacked.iterdir()
    workspace.kubernetes.parent.mkdir(parents=True)
    top.rename(workspace.kubernetes)


def _replace_reflect2(site: _Site, workspace: GoWorkspace) -> None:
    # The vendored release reads Go's maps wrongly since Go 1.18: the API server crashes at the first custom resource.
    vendored = workspace.kubernetes / "vendor" / _REFLECT2
    shutil.rmtree(vendored)
    shutil.copytree(site.packages / "usr/share/gocode/src" / _REFLECT2, vendored)


def _generate_openapi(workspace: GoWorkspace) -> None:
    generator = workspace.root / "openapi-gen"
    workspace.build("./vendor/k8s.io/kube-openapi/cmd/openapi-gen", generator, "")
    packages = ",".join(openapi_packages(workspace.kubernetes))
    arguments = ["-i", packages, "-p", f"k8s.io/kubernetes/{_OPENAPI}", "-O", "zz_generated.openapi"]
    arguments += ["-h", "vendor/k8s.io/code-generator/hack/boilerplate.go.txt", "-o", str(workspace.root / "src")]
    arguments += ["-r", str(workspace.root / "api-violations")]
    workspace.run([str(generator), *arguments])
