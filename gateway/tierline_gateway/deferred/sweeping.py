"""Forgets what expired: records at once, files piece by piece before their descriptions."""

import asyncio
import logging
import time

from tierline_gateway.batches.files import Files
from tierline_gateway.deferred.store import RecordStore, StoreUnavailable

log = logging.getLogger(__name__)

SWEEP_S = 600.0


async def sweep(store: RecordStore, files: Files, now_s: float) -> None:
    await files.sweep(now_s)
    await store.purge(now_s)


async def sweep_for_ever(store: RecordStore, files: Files) -> None:
    while True:
        try:
            await sweep(store, files, time.time())
        except StoreUnavailable as error:
            log.warning("what expired is not swept now: %s", error)
        await asyncio.sleep(SWEEP_S)
