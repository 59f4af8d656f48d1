"""The real Kubernetes API for integration tests: one control plane a session, or a given cluster."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tierline_devcluster.cluster import ClusterOptions, start
from tierline_devcluster.components.kubeconfig import read_server
from tierline_devcluster.provision.versions import KubernetesVersion, parse_version

GIVEN_CLUSTER_ENV = "TIERLINE_E2E_KUBECONFIG"


@dataclass(frozen=True)
class ControlPlane:
    """An API server with controllers and scheduler; `state_dir` is a folder for the tests' own files."""

    kubeconfig: Path
    server: str
    api_version: KubernetesVersion
    state_dir: Path


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    state_dir = tmp_path_factory.mktemp("control-plane") / "state"
    given = os.environ.get(GIVEN_CLUSTER_ENV)
    if given:
        state_dir.mkdir()
        kubeconfig = Path(given)
        yield ControlPlane(kubeconfig, read_server(kubeconfig), _version_of(kubeconfig), state_dir)
        return
    with start(ClusterOptions(name="tests", state_dir=state_dir, prometheus=False)) as cluster:
        yield ControlPlane(cluster.kubeconfig, cluster.server, cluster.api_version, state_dir)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Elsewhere than on a control plane of our own, the tests that lay hands on its processes are deselected."""
    if os.environ.get(GIVEN_CLUSTER_ENV):
        own = [item for item in items if item.get_closest_marker("virtualnodes") is not None]
        config.hook.pytest_deselected(items=own)
        items[:] = [item for item in items if item not in own]


def _version_of(kubeconfig: Path) -> KubernetesVersion:
    from kubernetes import client, config

    api = config.new_client_from_config(config_file=str(kubeconfig))
    return parse_version(client.VersionApi(api).get_code().git_version)
