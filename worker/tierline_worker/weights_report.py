"""Tells again and again which models the worker's node has: other workers fetch and evict there too."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from tierline.artifacts import WeightsStore

EVERY_SECONDS = 15.0

_LOG = logging.getLogger(__name__)


async def report_weights(
    store: WeightsStore, tell: Callable[[Mapping[str, int]], None], every_seconds: float = EVERY_SECONDS
) -> None:
    """Look into the cache until cancelled; a look that fails tells nothing new."""
    while True:
        try:
            tell(await asyncio.to_thread(store.cached))
        except OSError as error:
            _LOG.warning("the cache of models cannot be read: %s", error)
        await asyncio.sleep(every_seconds)
