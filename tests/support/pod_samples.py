"""Pod objects as the API server would hand them to a node."""

from typing import Any

from tierline_devcluster.agent.pod.spec import Pod, parse_pod

Json = dict[str, Any]


def container_json(name: str = "main", **fields: Any) -> Json:
    return {"name": name, "image": "none", "command": ["run"], **fields}


def pod_json(*containers: Json, **spec: Any) -> Json:
    """Return a bound pod; without containers it has one called main."""
    return {
        "metadata": {"name": "pod", "namespace": "space", "uid": "uid-1", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-a", "containers": list(containers) or [container_json()], **spec},
        "status": {},
    }


def pod(*containers: Json, **spec: Any) -> Pod:
    return parse_pod(pod_json(*containers, **spec))
