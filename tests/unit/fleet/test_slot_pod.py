import pytest
from fleet_builders import IMAGES, POOL, worker

from tierline.fleet.placement.market import Market, Slot, Supply
from tierline.fleet.placement.slot_pod import ANNOTATION_SLOT, SPOT_TAINTS, read_slot, slotted, written
from tierline.fleet.wanted import Capacity
from tierline.fleet.worker_pod import template_revision, worker_pod, worker_template

SPOT_IN_A = Slot(Supply.SPOT, Market("a", "h100"))


def made(slot: Slot, **asked):
    template = worker_template(POOL, "chat", worker(**asked), IMAGES)
    return template, slotted(worker_pod(template, POOL.name, 1), slot)


def required(pod):
    affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    return [(it["key"], it["operator"], it["values"]) for it in term["matchExpressions"]]


def test_a_slot_becomes_node_affinity_and_never_a_node_name():
    _, pod = made(SPOT_IN_A)
    assert required(pod) == [
        ("tierline.dev/capacity-type", "In", ["spot"]),
        ("topology.kubernetes.io/zone", "In", ["a"]),
        ("tierline.dev/accelerator", "In", ["h100"]),
    ]
    assert "nodeName" not in pod["spec"]


def test_a_slot_adds_to_what_the_pool_asks_and_keeps_its_revision():
    template, pod = made(SPOT_IN_A, accelerators=("h100", "a100"), capacity=Capacity.PREFER_SPOT)
    assert required(pod)[0] == ("tierline.dev/accelerator", "In", ["h100", "a100"])
    assert required(pod)[-1] == ("tierline.dev/accelerator", "In", ["h100"])
    assert "preferredDuringSchedulingIgnoredDuringExecution" in pod["spec"]["affinity"]["nodeAffinity"]
    assert template_revision(pod) == template_revision(template)
    assert pod["spec"]["topologySpreadConstraints"] == template["spec"]["topologySpreadConstraints"]


def test_nodes_without_a_label_are_on_demand():
    _, pod = made(Slot(Supply.ON_DEMAND))
    assert required(pod) == [("tierline.dev/capacity-type", "NotIn", ["spot"])]


def test_a_node_that_is_being_emptied_is_avoided_by_its_host_name():
    _, pod = made(Slot(avoid_node="n1"))
    assert required(pod) == [("kubernetes.io/hostname", "NotIn", ["n1"])]


def test_spot_pods_tolerate_the_taints_of_spot_nodes_and_those_with_accelerators_theirs():
    _, pod = made(SPOT_IN_A, gpus=1)
    assert [it["key"] for it in pod["spec"]["tolerations"]] == [*SPOT_TAINTS, "nvidia.com/gpu"]
    _, plain = made(Slot(Supply.ON_DEMAND))
    assert "tolerations" not in plain["spec"]


def test_an_open_slot_changes_nothing_but_the_note():
    template, pod = made(Slot())
    assert pod["spec"] == template["spec"]
    assert pod["metadata"]["annotations"][ANNOTATION_SLOT] == "//"


@pytest.mark.parametrize(
    "slot", [Slot(), SPOT_IN_A, Slot(Supply.ON_DEMAND, Market("", "h100")), Slot(None, Market("b"))]
)
def test_what_is_written_is_read(slot):
    assert read_slot(written(slot)) == slot


@pytest.mark.parametrize("text", ["", "spot", "cheap/a/b", "a/b/c/d"])
def test_a_note_that_somebody_else_wrote_leaves_the_supply_open(text):
    assert read_slot(text).supply is None
