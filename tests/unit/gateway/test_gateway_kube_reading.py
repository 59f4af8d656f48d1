import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tierline_gateway.kube.access import KubeAccess, KubeAccessError
from tierline_gateway.kube.discovery import endpoint_of
from tierline_gateway.kube.feed import ObjectStore

READY = [{"type": "Ready", "status": "True"}]


def pod(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "w-1", "annotations": changes.get("annotations", {})}
    if changes.get("deleting"):
        metadata["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    status = {"podIP": "10.0.0.9", "phase": "Running", "conditions": READY} | changes.get("status", {})
    return {"metadata": metadata, "status": status}


def test_a_ready_pod_serves() -> None:
    endpoint = endpoint_of(pod())
    assert endpoint is not None
    assert (endpoint.name, endpoint.host, endpoint.port) == ("w-1", "10.0.0.9", 7070)
    assert endpoint.serving
    assert endpoint.evacuate_by_epoch_ms is None


def test_a_worker_has_the_role_that_its_label_says_now() -> None:
    worker = pod()
    for label, role in (("Prefill", "Prefill"), ("Decode", "Decode"), ("other", "Unified")):
        endpoint = endpoint_of({**worker, "metadata": {**worker["metadata"], "labels": {"tierline.dev/role": label}}})
        assert endpoint is not None
        assert endpoint.role == role


def test_terminating_and_unready_pods_stay_but_get_nothing_new() -> None:
    for changed in (pod(deleting=True), pod(status={"conditions": []})):
        endpoint = endpoint_of(changed)
        assert endpoint is not None
        assert not endpoint.serving


def test_pods_without_address_or_ended_are_none() -> None:
    assert endpoint_of(pod(status={"podIP": ""})) is None
    assert endpoint_of(pod(status={"phase": "Failed"})) is None


@pytest.mark.parametrize(("written", "read"), [("1700", 1700), ("soon", None), ("", None), ("-5", None)])
def test_the_published_deadline(written: str, read: int | None) -> None:
    endpoint = endpoint_of(pod(annotations={"tierline.dev/evacuate-by": written}))
    assert endpoint is not None
    assert endpoint.evacuate_by_epoch_ms == read


def item(name: str, value: int = 0) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns"}, "value": value}


def test_a_list_removes_what_the_watch_missed() -> None:
    store = ObjectStore()
    store.put(item("a"))
    store.put(item("b"))
    store.replace([item("b", 1)])
    assert [one["value"] for one in store.all()] == [1]


def test_the_revision_grows_with_changes_only() -> None:
    store = ObjectStore()
    store.replace([])
    assert store.synced
    first = store.revision
    store.replace([])
    store.remove(item("a"))
    assert store.revision == first
    store.put(item("a"))
    store.remove(item("a"))
    assert store.revision == first + 2


def kubeconfig(path: Path, token: str, server: str = "http://127.0.0.1:1") -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "one")
    access = KubeAccess({"KUBECONFIG": str(path)})
    assert access.credentials().token == "one"
    kubeconfig(path, "two")
    os.utime(path, (1, 1))
    assert access.credentials().token == "two"


def test_a_token_file_is_read(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "")
    config = yaml.safe_load(path.read_text())
    (tmp_path / "token").write_text("three\n")
    config["users"][0]["user"] = {"tokenFile": "token"}
    path.write_text(yaml.safe_dump(config))
    assert KubeAccess({"KUBECONFIG": str(path)}).credentials().token == "three"


def test_without_any_way_the_variables_are_named() -> None:
    with pytest.raises(KubeAccessError, match="KUBECONFIG"):
        KubeAccess({})


@pytest.mark.parametrize("content", ["", "{", "clusters: []", "current-context: x\ncontexts: []"])
def test_an_unusable_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(KubeAccessError, match=str(path)):
        KubeAccess({"KUBECONFIG": str(path)}).credentials()


def test_a_broken_certificate_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", "one", "https://127.0.0.1:1")
    config = yaml.safe_load(path.read_text())
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(b"nonsense").decode()
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(KubeAccessError, match=str(path)):
        KubeAccess({"KUBECONFIG": str(path)}).credentials()
