"""Kubernetes Events about pods, posted in the background; a lost event loses nothing else."""

import asyncio
import itertools
import logging
import time
from dataclasses import dataclass, field

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api
from tierline_devcluster.agent.pod.spec import Json, Pod
from tierline_devcluster.agent.pod.status import timestamp

_LOG = logging.getLogger(__name__)
_COMPONENT = "tierline-node-agent"
_QUEUE_LIMIT = 1000
_MESSAGE_LIMIT = 1000


def warning(pod: Pod, reason: str, message: str, now_s: float, suffix: str) -> Json:
    """Return a Warning event about `pod`."""
    meta = pod.metadata
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name}.{suffix}", "namespace": meta.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
        "type": "Warning",
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
        "source": {"component": _COMPONENT, "host": pod.spec.node_name},
        "firstTimestamp": timestamp(now_s),
        "lastTimestamp": timestamp(now_s),
        "count": 1,
    }


@dataclass(slots=True)
class EventPoster:
    """Logs warnings about pods and posts them one after the other."""

    api: Api
    _pending: asyncio.Queue[Json] = field(default_factory=lambda: asyncio.Queue(_QUEUE_LIMIT))
    _serial: "itertools.count[int]" = field(default_factory=itertools.count)

    def warn(self, pod: Pod, reason: str, message: str) -> None:
        """Log at once and post later; when too much waits, the event is only logged."""
        _LOG.warning("%s: %s: %s", pod.label, reason, message)
        now_s = time.time()
        suffix = f"{int(now_s * 1000):x}{next(self._serial):x}"
        if not self._pending.full():
            self._pending.put_nowait(warning(pod, reason, message, now_s, suffix))

    async def run(self) -> None:
        while True:
            event = await self._pending.get()
            try:
                await self.api.create(f"/api/v1/namespaces/{event['metadata']['namespace']}/events", event)
            except TRANSIENT as error:
                _LOG.debug("event not posted: %s", error)
