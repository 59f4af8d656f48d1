"""From Kubernetes objects as JSON to the snapshots that the planners see. Missing fields read as "not yet"."""

from collections.abc import Mapping
from typing import Any

from tierline.api.names import ANNOTATION_EVACUATE_BY, LABEL_REVISION
from tierline.fleet.moments import epoch_ms
from tierline.fleet.observed import Manifest, ObjectIdentity, ObservedNode, ObservedPod


def read_identity(obj: Manifest) -> ObjectIdentity:
    metadata = obj["metadata"]
    return ObjectIdentity(
        kind=obj.get("kind", ""),
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        deleting="deletionTimestamp" in metadata,
        conditions=tuple(obj.get("status", {}).get("conditions", ())),
    )


def read_node(obj: Manifest) -> ObservedNode:
    metadata, status = obj["metadata"], obj.get("status", {})
    true_conditions = frozenset(it["type"] for it in status.get("conditions", ()) if it.get("status") == "True")
    return ObservedNode(
        name=metadata["name"],
        ready="Ready" in true_conditions,
        taints={it["key"]: it.get("value", "") for it in obj.get("spec", {}).get("taints", ())},
        true_conditions=true_conditions,
        deleting="deletionTimestamp" in metadata,
    )


def read_pod(obj: Manifest) -> ObservedPod:
    metadata, status = obj["metadata"], obj.get("status", {})
    conditions = {it["type"]: it for it in status.get("conditions", ())}
    annotations = metadata.get("annotations", {})
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        attempt=_attempt(metadata["name"]),
        revision=metadata.get("labels", {}).get(LABEL_REVISION, ""),
        created_ms=epoch_ms(metadata.get("creationTimestamp")) or 0,
        node=obj.get("spec", {}).get("nodeName", ""),
        scheduled_ms=epoch_ms(conditions.get("PodScheduled", {}).get("lastTransitionTime")),
        phase=status.get("phase", "Pending"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating="deletionTimestamp" in metadata,
        finished_ms=_finished_ms(status),
        evacuate_by_ms=_whole_number(annotations.get(ANNOTATION_EVACUATE_BY)),
        failure=_failure(status),
    )


def _attempt(name: str) -> int:
    return _whole_number(name.rpartition("-")[2]) or 0


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _finished_ms(status: Mapping[str, Any]) -> int | None:
    ends = [epoch_ms(it.get("state", {}).get("terminated", {}).get("finishedAt")) for it in _containers(status)]
    return max((end for end in ends if end is not None), default=None)


def _failure(status: Mapping[str, Any]) -> str:
    """Say why the pod does not run: its own refusal, a container that ended badly, or one that cannot start."""
    if status.get("phase") == "Failed" and status.get("message"):
        return f"{status.get('reason', 'Failed')}: {status['message']}"
    for container in _containers(status):
        told = _ended_badly(container) or _cannot_start(container)
        if told:
            return told
    return ""


def _ended_badly(container: Mapping[str, Any]) -> str:
    states = (container.get("state", {}), container.get("lastState", {}))
    end = next((it["terminated"] for it in states if it.get("terminated")), None)
    if end is None or end.get("exitCode", 0) == 0 or container.get("ready"):
        return ""
    said = (end.get("message") or end.get("reason") or "").strip().splitlines()
    return f"exited with code {end['exitCode']}" + (f": {said[-1]}" if said else "")


def _cannot_start(container: Mapping[str, Any]) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") in {None, "ContainerCreating", "PodInitializing"}:
        return ""
    return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
