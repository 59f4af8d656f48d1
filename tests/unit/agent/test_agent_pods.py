"""Pods that arrive at the agent, before anything is run."""

import logging
from pathlib import Path

import pytest
from pod_samples import container_json, pod_json

from tierline_devcluster.agent.apiserver.client import Api
from tierline_devcluster.agent.apiserver.credentials import ClusterAccess
from tierline_devcluster.agent.apiserver.events import EventPoster, warning
from tierline_devcluster.agent.apiserver.tokens import token_request
from tierline_devcluster.agent.pod.addresses import AddressPool
from tierline_devcluster.agent.pod.runner import Host
from tierline_devcluster.agent.pod.spec import parse_pod
from tierline_devcluster.agent.pod.state import Backoff
from tierline_devcluster.agent.pods import PodKeeper
from tierline_devcluster.agent.process.runtime import PretendingRuntime


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodKeeper:
    monkeypatch.setattr(ClusterAccess, "ssl_context", lambda _: None)
    api = Api(ClusterAccess("http://127.0.0.1:1", b"", b"", b"", ""))
    host = Host(api, PretendingRuntime(tmp_path), EventPoster(api), None, {})  # type: ignore[arg-type]
    return PodKeeper(host, AddressPool("127.20.0.0"), Backoff(), {"node-a"})


async def test_pods_of_other_nodes_are_none_of_our_business(keeper: PodKeeper) -> None:
    other = pod_json()
    other["spec"]["nodeName"] = "node-b"
    keeper.present(other)
    keeper.gone(other)
    assert not keeper.runners


async def test_a_pod_that_cannot_be_read_does_not_end_the_agent(
    keeper: PodKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        keeper.present(pod_json(container_json(command="not a list")))
    assert not keeper.runners
    assert "space/pod cannot be read" in caplog.text


async def test_a_pod_is_found_by_name_and_node_until_its_machine_dies(keeper: PodKeeper) -> None:
    keeper.present(pod_json())
    keeper.present(pod_json())
    (runner,) = keeper.of_node("node-a")
    assert keeper.find("space", "pod") is runner
    assert keeper.find("space", "other") is None
    await keeper.silence([runner])
    assert not keeper.runners
    assert not keeper.addresses.taken


def test_a_warning_is_about_the_pod_and_not_too_long() -> None:
    event = warning(parse_pod(pod_json()), "Why", "x" * 5000, 0.0, "1")
    assert event["involvedObject"]["uid"] == "uid-1"
    assert len(event["message"]) == 1000


def test_a_token_is_bound_to_its_pod_and_short_lived() -> None:
    spec = token_request(parse_pod(pod_json()))["spec"]
    assert spec["boundObjectRef"]["uid"] == "uid-1"
    # Servers extend exactly this lifetime to a year.
    assert spec["expirationSeconds"] != 3607
