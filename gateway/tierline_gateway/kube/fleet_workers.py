"""The worker pods of each fleet that the gateway serves: one watch a fleet, as long as that is served."""

import asyncio
import logging

from tierline_gateway.kube.client import KubeClient
from tierline_gateway.kube.discovery import PodDiscovery

log = logging.getLogger(__name__)

AGAIN_S = 5.0


class FleetWorkers:
    """A `FleetSource` over the API server; needs a running event loop."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._watches: dict[str, asyncio.Task[None]] = {}

    def open(self, fleet: str) -> PodDiscovery:
        discovery = PodDiscovery(self._client, self._namespace, fleet)
        self._watches[fleet] = asyncio.create_task(_watch(discovery, fleet), name=f"workers-of-{fleet}")
        return discovery

    def close(self, fleet: str) -> None:
        self._watches.pop(fleet).cancel()

    def close_all(self) -> None:
        for fleet in tuple(self._watches):
            self.close(fleet)


async def _watch(discovery: PodDiscovery, fleet: str) -> None:
    """Follow the pods for ever: a defect that one fleet's pods bring to light must not end the others' gateway."""
    while True:
        try:
            await discovery.feed.run()
        except Exception:
            log.exception("watching the workers of fleet %s failed, again in %g s", fleet, AGAIN_S)
            await asyncio.sleep(AGAIN_S)
