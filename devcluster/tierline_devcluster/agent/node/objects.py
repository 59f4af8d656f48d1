"""A virtual node as API objects: the Node, its status and its lease."""

from datetime import UTC, datetime

from tierline.api.names import LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_ZONE, TAINT_SPOT_NOTICE
from tierline_devcluster.agent.pod.spec import Json
from tierline_devcluster.agent.pod.status import HOST_IP, timestamp
from tierline_devcluster.nodes import NodeSpec

_MAX_PODS = 1000
LEASE_DURATION_S = 40
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NODES = "/api/v1/nodes"


def capacity(node: NodeSpec) -> dict[str, str]:
    """Return what the node offers, as quantities by resource name."""
    offered = {"cpu": str(node.cpus), "memory": f"{node.memory_mb}Mi", "pods": str(_MAX_PODS)}
    return offered | ({"nvidia.com/gpu": str(node.gpus)} if node.gpus else {})


def node_object(node: NodeSpec, kubelet_port: int, now_s: float) -> Json:
    """Return the Node to create or to patch onto an existing one; it says nothing about taints."""
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        LABEL_ZONE: node.zone,
        LABEL_CAPACITY_TYPE: node.capacity_type,
        LABEL_ACCELERATOR: node.accelerator,
    }
    metadata = {"name": node.name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata} | node_status(node, kubelet_port, now_s)


def node_status(node: NodeSpec, kubelet_port: int, now_s: float) -> Json:
    """Return the heartbeat. `kubelet_port` is for logs and exec.

    Only an address is given: a host name would be dialled as it is, and no such host exists.
    """
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "AgentReady",
        "message": "the node agent runs pods as local processes",
        "lastHeartbeatTime": timestamp(now_s),
    }
    return {
        "status": {
            "capacity": capacity(node),
            "allocatable": capacity(node),
            "addresses": [{"type": "InternalIP", "address": HOST_IP}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
            "conditions": [ready],
            "nodeInfo": {"operatingSystem": "linux", "kubeletVersion": "v0.0.0-tierline"},
        }
    }


def lease_spec(name: str, now_s: float) -> Json:
    """Return the sign of life."""
    renewed = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_DURATION_S, "renewTime": renewed}}


def lease_object(name: str, node_uid: str, now_s: float) -> Json:
    """Return the lease to create, owned by the Node so that it goes with it."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}
    metadata = {"name": name, "namespace": "kube-node-lease", "ownerReferences": [owner]}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata} | lease_spec(name, now_s)


def reclaim_deadline_s(node: Json) -> float | None:
    """Return the epoch second at which the machine will be taken away; None without a (readable) spot notice."""
    for taint in node.get("spec", {}).get("taints", []):
        if taint["key"] == TAINT_SPOT_NOTICE:
            try:
                return float(taint.get("value", ""))
            except ValueError:
                return None
    return None
