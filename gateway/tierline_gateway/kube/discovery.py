"""Workers of our fleet, from the watch on its pods."""

from collections.abc import Iterable

from tierline.api.names import (
    ANNOTATION_EVACUATE_BY,
    LABEL_COMPONENT,
    LABEL_FLEET,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_ROLE,
    WORKER_WIRE_PORT,
    label_value,
)
from tierline.api.serving import ROLES
from tierline_gateway.kube.client import Json, KubeClient
from tierline_gateway.kube.feed import Feed
from tierline_gateway.workers.discovery import WorkerEndpoint

_ENDED = frozenset({"Succeeded", "Failed"})


class PodDiscovery:
    """The fleet's worker pods that have an address."""

    def __init__(self, client: KubeClient, namespace: str, fleet: str) -> None:
        selector = f"{LABEL_FLEET}={label_value(fleet)},{LABEL_COMPONENT}=worker"
        self.feed = Feed(client, f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": selector})
        self._seen = -1
        self._workers: tuple[WorkerEndpoint, ...] = ()

    @property
    def workers(self) -> Iterable[WorkerEndpoint]:
        if self._seen != self.feed.store.revision:
            self._seen = self.feed.store.revision
            self._workers = tuple(endpoint for pod in self.feed.store.all() if (endpoint := endpoint_of(pod)))
        return self._workers


def endpoint_of(pod: Json) -> WorkerEndpoint | None:
    """Return where a pod's worker listens; None for pods without an address and those that ended.

    A terminating pod stays: its worker drains and its streams still come from there.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    if not status.get("podIP") or status.get("phase") in _ENDED:
        return None
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    labels = metadata.get("labels") or {}
    evacuate_by = (metadata.get("annotations") or {}).get(ANNOTATION_EVACUATE_BY, "")
    return WorkerEndpoint(
        name=metadata["name"],
        host=status["podIP"],
        port=WORKER_WIRE_PORT,
        serving=ready and "deletionTimestamp" not in metadata,
        evacuate_by_epoch_ms=int(evacuate_by) if evacuate_by.isdecimal() else None,
        pool=labels.get(LABEL_POOL, ""),
        revision=labels.get(LABEL_REVISION, ""),
        role=ROLES.get(labels.get(LABEL_ROLE, ""), "Unified"),
    )
