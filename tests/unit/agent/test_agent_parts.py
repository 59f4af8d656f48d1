"""The agent's small parts: thresholds, addresses, logs, discovery, nodes, kubeconfigs."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tierline_devcluster.agent.apiserver.credentials import (
    ClusterAccess,
    KubeconfigError,
    load_access,
    write_pod_kubeconfig,
)
from tierline_devcluster.agent.kubelet.api import common_names
from tierline_devcluster.agent.kubelet.discovery import targets
from tierline_devcluster.agent.kubelet.exec_stream import exit_status
from tierline_devcluster.agent.node.objects import capacity, node_object, reclaim_deadline_s
from tierline_devcluster.agent.pod.addresses import AddressPool, claim_block
from tierline_devcluster.agent.probes.thresholds import Tally
from tierline_devcluster.agent.process.logfiles import LogQuery, read_log
from tierline_devcluster.nodes import NodeSpec

Json = dict[str, Any]


def test_a_verdict_turns_only_after_enough_answers_in_a_row() -> None:
    tally, verdicts = Tally(passing=True), []
    for ok in (False, False, True, False, False, False, True, True):
        tally = tally.observe(ok=ok, success_threshold=2, failure_threshold=3)
        verdicts.append(tally.passing)
    assert verdicts == [True, True, True, True, True, False, False, True]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_agrees_with_the_answers_that_turned_it(answers: list[bool], success: int, failure: int) -> None:
    tally = Tally(passing=False)
    for index, ok in enumerate(answers):
        before, tally = tally, tally.observe(ok=ok, success_threshold=success, failure_threshold=failure)
        if before.passing != tally.passing:
            needed = success if tally.passing else failure
            assert answers[index - needed + 1 : index + 1] == [tally.passing] * needed


def test_addresses_are_distinct_rest_and_can_be_asked_for() -> None:
    pool = AddressPool("127.20.0.0")
    first, second = pool.take(), pool.take()
    assert (first, second) == ("127.20.0.2", "127.20.0.3")
    pool.give_back(first)
    assert pool.take() == "127.20.0.4"
    assert pool.take(first) == first
    assert pool.take(second) == "127.20.0.5"
    assert pool.take("127.30.0.9") == "127.20.0.6"


def test_two_clusters_get_different_blocks() -> None:
    claim, network = claim_block("same")
    with claim:
        other, another = claim_block("same")
        other.close()
        assert network != another
    again, back = claim_block("same")
    again.close()
    assert back == network


async def read(path: Path, query: LogQuery) -> bytes:
    return b"".join([chunk async for chunk in read_log(path, query, lambda: False)])


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize("lines", [1, 3, 1000, 50_000])
async def test_the_last_lines_are_found_from_behind(tmp_path: Path, ending: str, lines: int) -> None:
    path = tmp_path / "log"
    text = "\n".join(f"line {index}" for index in range(20_000)) + ending
    path.write_text(text)
    expected = "\n".join(text.removesuffix("\n").split("\n")[-lines:]) + ending
    assert (await read(path, LogQuery(tail_lines=lines))).decode() == expected


async def test_a_limit_of_bytes_and_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("abcdef")
    assert await read(path, LogQuery(limit_bytes=4)) == b"abcd"
    assert await read(path, LogQuery(tail_lines=0)) == b""


async def test_following_reads_what_is_written_later_until_the_writer_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one ")
    asked: list[int] = []

    def alive() -> bool:
        asked.append(1)
        if len(asked) == 2:
            path.write_text("one two")
        return len(asked) < 4

    chunks = [chunk async for chunk in read_log(path, LogQuery(follow=True), alive)]
    assert b"".join(chunks) == b"one two"


def scraped(phase: str = "Running", **annotations: str) -> Json:
    notes = {f"prometheus.io/{key}": value for key, value in annotations.items()}
    meta = {"name": "p", "namespace": "n", "annotations": notes, "labels": {"tierline.dev/fleet": "f"}}
    return {"metadata": meta, "spec": {"nodeName": "a"}, "status": {"phase": phase, "podIP": "127.20.0.2"}}


def test_discovery_gives_running_pods_that_ask() -> None:
    (found,) = targets([scraped(scrape="true", port="7071", path="/m")])
    assert found["targets"] == ["127.20.0.2:7071"]
    assert found["labels"]["__meta_kubernetes_pod_name"] == "p"
    assert found["labels"]["__meta_kubernetes_pod_label_tierline_dev_fleet"] == "f"
    assert found["labels"]["__metrics_path__"] == "/m"


def test_discovery_leaves_others_out() -> None:
    others = [scraped(port="1"), scraped(scrape="true"), scraped(scrape="true", port="x")]
    assert targets([*others, scraped("Pending", scrape="true", port="1"), {"metadata": {}}]) == []


def test_a_node_offers_what_it_was_given() -> None:
    node = NodeSpec("n", "zone-a", "spot", cpus=4, memory_mb=1024, gpus=2, accelerator="l4")
    body = node_object(node, 10250, 0.0)
    assert body["status"]["allocatable"] == {"cpu": "4", "memory": "1024Mi", "pods": "1000", "nvidia.com/gpu": "2"}
    labels = body["metadata"]["labels"]
    assert labels["topology.kubernetes.io/zone"] == "zone-a"
    assert labels["tierline.dev/capacity-type"] == "spot"
    assert "taints" not in body.get("spec", {})
    assert "nvidia.com/gpu" not in capacity(NodeSpec("n", "z", gpus=0))


@pytest.mark.parametrize(("value", "deadline"), [("1700000000", 1.7e9), ("1.5", 1.5), ("soon", None), ("", None)])
def test_a_spot_notice_is_a_taint_with_a_time(value: str, deadline: float | None) -> None:
    taints = [{"key": "other", "value": "1"}, {"key": "tierline.dev/spot-notice", "value": value}]
    assert reclaim_deadline_s({"spec": {"taints": taints}}) == deadline
    assert reclaim_deadline_s({"spec": {}}) is None


def test_kubectl_is_told_the_exit_code() -> None:
    assert exit_status(0)["status"] == "Success"
    assert exit_status(3)["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert exit_status(-9)["details"]["causes"][0]["message"] == "137"


def test_the_common_name_of_a_certificate_is_read() -> None:
    subject = ((("organizationName", "x"),), (("commonName", "kubelet-client"),))
    assert common_names({"subject": subject}) == ["kubelet-client"]
    assert common_names({}) == []


def test_a_pods_kubeconfig_can_be_read_back_and_is_private(tmp_path: Path) -> None:
    access = ClusterAccess("https://127.0.0.1:1", b"CA", b"CERT", b"KEY", "")
    path = tmp_path / "kubeconfig"
    write_pod_kubeconfig(path, access, "space", "secret")
    write_pod_kubeconfig(path, access, "space", "newer")
    assert load_access(path) == ClusterAccess("https://127.0.0.1:1", b"CA", b"", b"", "newer")
    assert json.loads(path.read_text())["contexts"][0]["context"]["namespace"] == "space"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_may_name_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(b"CA")
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://x/", "certificate-authority": "ca"}}],
        "users": [{"name": "u", "user": {"client-key-data": base64.b64encode(b"KEY").decode()}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    assert load_access(path) == ClusterAccess("https://x", b"CA", b"", b"KEY", "")


@pytest.mark.parametrize("text", ["", "[]", "current-context: x\ncontexts: []", "{"])
def test_an_unusable_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=str(path)):
        load_access(path)
