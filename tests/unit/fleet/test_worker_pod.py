import json
from dataclasses import replace

import kubernetes_validate
import pytest
from fleet_builders import FLEET, IMAGES, POOL, worker

from tierline.fleet.gateway_objects import gateway_objects
from tierline.fleet.wanted import AnswersIn, Capacity, StoredAnswers, ZoneSpread
from tierline.fleet.worker_pod import template_revision, worker_pod, worker_template
from tierline_devcluster.agent.pod.subset import unsupported_fields


def template(**asked):
    return worker_template(POOL, "chat", worker(**asked), IMAGES)


def affinity(**asked):
    return template(**asked)["spec"].get("affinity", {}).get("nodeAffinity", {})


def required(**asked):
    terms = affinity(**asked)["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [(it["key"], it["operator"], it["values"]) for it in terms[0]["matchExpressions"]]


def walk(value, key=""):
    yield key, value
    children = (
        value.items() if isinstance(value, dict) else ((key, it) for it in value) if isinstance(value, list) else ()
    )
    for child_key, child in children:
        yield from walk(child, child_key)


CLAIM = StoredAnswers(AnswersIn.CLAIM, 512, "kept")
EVERYTHING = {"cpu": "2", "memory": "4Gi", "gpus": 1, "accelerators": ("h100",), "capacity": Capacity.SPOT}


@pytest.mark.parametrize("version", ["1.27", "1.35"])
def test_every_object_is_valid_for_kubernetes(version):
    pod = worker_pod(template(**EVERYTHING), "chat-main", 3)
    for manifest in (pod, *gateway_objects(FLEET, 1, ("keys",), IMAGES, answers=CLAIM)):
        kubernetes_validate.validate(json.loads(json.dumps(manifest)), version, strict=True)


def test_the_development_cluster_can_run_every_pod():
    deployment = gateway_objects(FLEET, 1, ("keys",), IMAGES, answers=StoredAnswers())[-1]
    for pod in (worker_pod(template(**EVERYTHING), "chat-main", 3), deployment["spec"]["template"]):
        assert unsupported_fields(pod) == ()


def test_no_pod_names_its_node_or_tolerates_a_reclaim():
    spec = template(**EVERYTHING)["spec"]
    assert "nodeName" not in spec
    assert "tolerations" not in spec


def test_quantities_are_text_and_ports_name_their_protocol():
    for manifest in (template(**EVERYTHING), *gateway_objects(FLEET, 1, (), IMAGES, answers=CLAIM)):
        for key, value in walk(manifest):
            if key in {"requests", "limits"} and isinstance(value, dict):
                assert all(isinstance(amount, str) for amount in value.values())
            if isinstance(value, dict) and ("containerPort" in value or "targetPort" in value):
                assert value["protocol"] == "TCP"


def test_a_worker_has_no_token_and_the_time_to_drain():
    spec = template(drain_seconds=45)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["terminationGracePeriodSeconds"] == 55


def test_capacity_and_accelerator_become_node_affinity():
    assert required(**EVERYTHING) == [
        ("tierline.dev/accelerator", "In", ["h100"]),
        ("tierline.dev/capacity-type", "In", ["spot"]),
    ]
    assert required(capacity=Capacity.ON_DEMAND) == [("tierline.dev/capacity-type", "NotIn", ["spot"])]
    assert list(affinity(capacity=Capacity.PREFER_SPOT)) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert affinity() == {}


@pytest.mark.parametrize(
    ("spread", "when"), [(ZoneSpread.PREFERRED, "ScheduleAnyway"), (ZoneSpread.REQUIRED, "DoNotSchedule")]
)
def test_workers_are_spread_over_zones(spread, when):
    [constraint] = template(zone_spread=spread)["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == when
    assert constraint["topologyKey"] == "topology.kubernetes.io/zone"


def test_zones_may_be_ignored():
    assert "topologySpreadConstraints" not in template(zone_spread=ZoneSpread.IGNORED)["spec"]


@pytest.mark.parametrize("change", [{"drain_seconds": 1}, {"gpus": 1}, {"environment": {"TIERLINE_THREADS": "2"}}])
def test_whatever_changes_a_worker_changes_its_revision(change):
    assert template_revision(template(**change)) != template_revision(template())


def test_a_new_image_is_a_new_revision():
    other = worker_template(POOL, "chat", worker(), replace(IMAGES, worker="worker:2"))
    assert template_revision(other) != template_revision(template())


DISK = {"environment": {"TIERLINE_DISK_CACHE_BLOCKS": "256", "TIERLINE_BLOCK_TOKENS": "16"}}


def test_where_nodes_keep_models_a_worker_gets_their_folder_and_its_bound():
    images = replace(IMAGES, weights_dir="/var/lib/tierline", weights_limit_mebibytes=1000)
    made = worker_template(POOL, "chat", worker(**DISK), images)
    spec, container = made["spec"], made["spec"]["containers"][0]
    assert spec["volumes"][1] == {
        "name": "weights",
        "hostPath": {"path": "/var/lib/tierline", "type": "Directory"},
    }
    assert container["volumeMounts"][1] == {"name": "weights", "mountPath": "/var/lib/tierline"}
    told = {it["name"]: it.get("value") for it in container["env"]}
    assert told["TIERLINE_WEIGHTS_DIR"] == "/var/lib/tierline"
    assert told["TIERLINE_WEIGHTS_LIMIT_MEBIBYTES"] == "1000"
    pod = json.loads(json.dumps(worker_pod(made, "chat-main", 1)))
    kubernetes_validate.validate(pod, "1.27", strict=True)
    assert unsupported_fields(pod) == ()
    assert "TIERLINE_WEIGHTS_DIR" not in json.dumps(template())


def test_a_worker_that_keeps_kv_on_disk_gets_a_volume_of_its_own():
    spec = template(**DISK)["spec"]
    assert spec["volumes"] == [{"name": "scratch", "emptyDir": {"sizeLimit": "16384Mi"}}]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "scratch", "mountPath": "/tmp"}]
    pod = json.loads(json.dumps(worker_pod(template(**DISK), "chat-main", 1)))
    kubernetes_validate.validate(pod, "1.27", strict=True)
    assert unsupported_fields(pod) == ()
    assert "volumes" not in template()["spec"]
