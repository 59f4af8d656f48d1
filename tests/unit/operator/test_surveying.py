"""What the operator takes for a loss of spot capacity, and what it does not."""

import pytest
from api_server_in_memory import ApiServerInMemory, wired

from tierline.api.names import LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_ZONE, TAINT_SPOT_NOTICE
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.surveying import Surveyor

NOW_MS = 1_800_000_000_000


def node(zone, ready="True", **spec):
    labels = {LABEL_CAPACITY_TYPE: "spot", LABEL_ZONE: zone, LABEL_ACCELERATOR: "h100"}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    metadata = {"name": f"node-{zone}", "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        (node("a", unschedulable=True), 0),
        (node("a", ready="Unknown"), 0),
        (node("a", taints=[{"key": "team", "effect": "NoSchedule"}]), 0),
        (node("a", taints=[{"key": TAINT_SPOT_NOTICE, "value": str(NOW_MS // 1000 + 60)}]), 1),
    ],
)
def test_only_an_announced_end_of_a_living_node_is_a_loss(changed, lost):
    server, book = ApiServerInMemory(), CapacityBook()
    for zone in "abc":
        server.put(node(zone))
    _, stores, _ = wired(server)
    surveyor = Surveyor(stores, book)
    surveyor.survey(NOW_MS)
    stores.note(server.put(changed))
    surveyor.survey(NOW_MS + 1000)
    assert sum(record.interruptions for record in book.history.records.values()) == lost
    assert len(book.history.preempted) == lost
