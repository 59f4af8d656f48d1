"""Nodes change every few seconds without changing: their kubelets write that they live."""

from tierline.fleet.observed import Manifest


def without_heartbeats(node: Manifest) -> Manifest:
    """Return a node without what its kubelet writes only to show that it lives."""
    metadata = {key: value for key, value in node["metadata"].items() if key != "resourceVersion"}
    status = node.get("status", {})
    conditions = [
        {key: value for key, value in it.items() if key != "lastHeartbeatTime"} for it in status.get("conditions", ())
    ]
    return {**node, "metadata": metadata, "status": {**status, "conditions": conditions}}
