"""Writing a pod's status: always the newest, one write at a time, never in the way of the pod's own life."""

import asyncio
import logging
from dataclasses import dataclass, field

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api, ApiError
from tierline_devcluster.agent.pod.spec import Json, Pod

_LOG = logging.getLogger(__name__)
_PAUSE_S = 0.5
_POD_IS_ANOTHER = (404, 409)


@dataclass(slots=True)
class StatusPublisher:
    """Sends the status given last; older ones that were not sent yet are skipped."""

    api: Api
    pod: Pod
    _wanted: Json | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, status: Json) -> None:
        self._wanted = status
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until the newest status is written or cannot be."""
        if self._wanted is not None:
            await self._idle.wait()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            status = self._wanted
            if status is None:
                continue
            if not await self._written(status):
                await asyncio.sleep(_PAUSE_S)
                self._wake.set()
            elif status is self._wanted:
                self._wanted = None
                self._idle.set()

    async def _written(self, status: Json) -> bool:
        meta = self.pod.metadata
        path = f"/api/v1/namespaces/{meta.namespace}/pods/{meta.name}/status"
        try:
            # The uid guards against a later pod of the same name.
            await self.api.patch(path, {"metadata": {"uid": meta.uid}, "status": status})
        except ApiError as error:
            _LOG.debug("%s: status not written: %s", self.pod.label, error)
            return error.code in _POD_IS_ANOTHER
        except TRANSIENT as error:
            _LOG.info("%s: status not written yet: %s", self.pod.label, error)
            return False
        return True
