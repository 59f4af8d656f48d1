import pytest

from tierline.fleet.placement.market import Market, Slot, Supply
from tierline.fleet.placement.room import Need
from tierline.fleet.placement.room_reading import market_of, placed_pod, read_need, read_room, takes_pods
from tierline.fleet.placement.slot_pod import ANNOTATION_SLOT, written

NOW_MS = 1_000_000_000_000


def node(name="n1", ready=True, taints=(), unschedulable=False, **labels):
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {
            "allocatable": {"cpu": "8", "memory": "16Gi", "nvidia.com/gpu": "4"},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


SPOT_NODE = node(
    **{"tierline.dev/capacity-type": "spot", "topology.kubernetes.io/zone": "a", "tierline.dev/accelerator": "h100"}
)


def pod(on="", slot=None, ready=False):
    return {
        "metadata": {
            "name": "chat-main-1",
            "uid": "u1",
            "creationTimestamp": "2001-09-09T01:45:40Z",
            "annotations": {ANNOTATION_SLOT: written(slot)} if slot else {},
        },
        "spec": {
            "nodeName": on,
            "containers": [
                {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "2"}}},
                {},
            ],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def test_labels_say_what_a_node_is_and_without_them_it_is_an_ordinary_one():
    assert market_of(SPOT_NODE) == (Supply.SPOT, Market("a", "h100"))
    assert market_of(node()) == (Supply.ON_DEMAND, Market("", ""))


@pytest.mark.parametrize(
    ("seen", "takes"),
    [
        (node(), True),
        (node(ready=False), False),
        (node(unschedulable=True), False),
        (node(taints=[{"key": "karpenter.sh/disrupted"}]), False),
        (node(taints=[{"key": "nvidia.com/gpu"}]), True),
    ],
)
def test_workers_go_to_nodes_that_answer_and_stay(seen, takes):
    assert takes_pods(seen, NOW_MS) is takes


def test_what_is_free_is_what_a_node_gives_less_what_our_pods_ask():
    room = read_room(SPOT_NODE, [pod(on="n1")])
    assert read_need(pod()) == Need(2, 500, 2**30)
    assert room.free == Need(2, 7500, 15 * 2**30)
    assert room.pods == {"u1": Need(2, 500, 2**30)}


def test_a_worker_is_where_its_node_is_and_before_that_where_its_slot_says():
    slot = Slot(Supply.SPOT, Market("b", "h100"))
    waiting = placed_pod(pod(slot=slot), None, NOW_MS)
    assert (waiting.supply, waiting.market, waiting.waiting_ms) == (Supply.SPOT, Market("b", "h100"), 60_000)
    there = placed_pod(pod(on="n1", slot=slot, ready=True), SPOT_NODE, NOW_MS)
    assert (there.market, there.waiting_ms, there.node, there.ready) == (Market("a", "h100"), 0, "n1", True)
