import pytest
from kubernetes import client, config

from tierline_devcluster.provision.versions import parse_version

pytestmark = pytest.mark.controlplane


def test_the_api_says_its_version_and_has_what_a_first_pod_needs(control_plane):
    api = config.new_client_from_config(config_file=str(control_plane.kubeconfig))
    assert parse_version(client.VersionApi(api).get_code().git_version) == control_plane.api_version
    core = client.CoreV1Api(api)
    assert core.read_namespaced_service_account("default", "default").metadata.uid
    assert core.read_namespaced_config_map("kube-root-ca.crt", "default").data["ca.crt"]
