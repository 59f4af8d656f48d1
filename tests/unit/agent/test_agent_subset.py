"""Which pods are refused, and that the documents say the same."""

from pathlib import Path

import pytest
from pod_samples import container_json, pod_json

from tierline_devcluster.agent.pod import subset
from tierline_devcluster.agent.pod.subset import unsupported_fields, wants_token

DOC = Path(__file__).parents[3] / "docs" / "devcluster-pods.md"
TOKEN_MOUNT = {
    "name": "default-token-x",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
TOKEN_VOLUMES = [
    {"name": "default-token-x", "secret": {"secretName": "default-token-x"}},
    {"name": "default-token-x", "projected": {"sources": []}},
]


def test_a_defaulted_pod_is_accepted() -> None:
    stored = container_json(
        imagePullPolicy="Always",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
        securityContext={"runAsNonRoot": True},
        ports=[{"name": "http", "containerPort": 80, "protocol": "TCP"}],
        readinessProbe={"httpGet": {"port": "http"}, "timeoutSeconds": 1},
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
    )
    spec = {
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "hostNetwork": False,
        "priority": 0,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "tolerations": [{"operator": "Exists"}],
    }
    assert unsupported_fields(pod_json(stored, **spec)) == ()


@pytest.mark.parametrize("volume", TOKEN_VOLUMES)
def test_the_token_that_admission_mounts_is_an_identity(volume: dict) -> None:
    mounted = pod_json(container_json(volumeMounts=[TOKEN_MOUNT]), volumes=[volume])
    assert unsupported_fields(mounted) == ()
    assert wants_token(mounted)
    assert not wants_token(pod_json())


def test_an_empty_dir_at_tmp_is_the_scratch_folder() -> None:
    mount = {"name": "tmp", "mountPath": "/tmp"}
    mounted = pod_json(container_json(volumeMounts=[mount]), volumes=[{"name": "tmp", "emptyDir": {}}])
    assert unsupported_fields(mounted) == ()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"command": []}, "spec.containers[0].command"),
        ({"tty": True}, "spec.containers[0].tty"),
        ({"volumeDevices": [{"name": "d"}]}, "spec.containers[0].volumeDevices"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/data"}]}, "spec.containers[0].volumeMounts[0].mountPath"),
        ({"securityContext": {"privileged": True}}, "spec.containers[0].securityContext.privileged"),
        ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "spec.containers[0].ports[0].hostPort"),
        ({"lifecycle": {"postStart": {"exec": {}}}}, "spec.containers[0].lifecycle.postStart"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, "spec.containers[0].lifecycle.preStop.sleep"),
        ({"livenessProbe": {"grpc": {"port": 1}}}, "spec.containers[0].livenessProbe.grpc"),
        ({"readinessProbe": {"httpGet": {"port": "web"}}}, "spec.containers[0].readinessProbe.httpGet.port"),
        (
            {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]},
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        ),
        ({"restartPolicy": "Always"}, "spec.containers[0].restartPolicy"),
    ],
)
def test_an_unsupported_container_field_is_named(fields: dict, named: str) -> None:
    problems = unsupported_fields(pod_json(container_json() | fields))
    assert len(problems) == 1
    assert problems[0].startswith(f"{named}: ")


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": True},
        {"hostAliases": [{"ip": "1.2.3.4"}]},
        {"runtimeClassName": "gvisor"},
        {"activeDeadlineSeconds": 5},
        {"somethingNew": {"a": 1}},
    ],
)
def test_an_unsupported_pod_field_is_named(spec: dict) -> None:
    name = next(iter(spec))
    assert [each.split(":")[0] for each in unsupported_fields(pod_json(**spec))] == [f"spec.{name}"]


def test_fields_of_init_containers_are_judged_too() -> None:
    problems = unsupported_fields(pod_json(initContainers=[{"name": "init", "image": "x"}]))
    assert problems[0].startswith("spec.initContainers[0].command: ")


@pytest.mark.parametrize(
    "name",
    sorted(
        subset.RUN_POD
        | subset.RUN_CONTAINER
        | subset.SCHEDULER
        | subset.IGNORED_POD.keys()
        | subset.IGNORED_CONTAINER.keys()
    ),
)
def test_every_listed_field_is_in_the_documents(name: str) -> None:
    assert f"`{name}`" in DOC.read_text()


def test_the_documents_give_the_reasons_for_what_is_ignored() -> None:
    text = DOC.read_text()
    for reason in (*subset.IGNORED_POD.values(), *subset.IGNORED_CONTAINER.values()):
        assert reason in text
