"""Batches in the store: made, found, and changed by events, whoever changes them at the same time."""

import time

from tierline_gateway.batches.batch import KIND, Batch, batch_of
from tierline_gateway.batches.transitions import Event, IllegalEvent, after
from tierline_gateway.deferred.store import RecordStore


class BatchGone(Exception):
    """There is no such batch any more."""


class BatchRegistry:
    """Every change is an event to the batch as it is at that moment."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def find(self, batch_id: str, tenant: str | None = None) -> Batch | None:
        """Return a batch, if it is this tenant's."""
        record = await self._store.get(KIND, batch_id)
        return batch_of(record) if record is not None and tenant in (None, record.tenant) else None

    async def owned(self, tenant: str) -> list[Batch]:
        """Return a tenant's batches, the newest first."""
        batches = map(batch_of, await self._store.find(KIND, tenant=tenant))
        return sorted(batches, key=lambda batch: (batch.created_s, batch.id), reverse=True)

    async def apply(self, batch_id: str, event: Event) -> Batch:
        """Return the batch after `event`; raises `IllegalEvent`, `BatchGone`."""
        while True:
            record = await self._store.get(KIND, batch_id)
            if record is None:
                raise BatchGone(batch_id)
            batch = batch_of(record)
            changed = after(batch, event, time.time())
            if changed == batch or await self._store.replace(changed.record(record.due_s), record.document):
                return changed

    async def try_apply(self, batch_id: str, event: Event) -> Batch | None:
        """Apply an event if it still fits; returns the batch as it is then, None when it is gone."""
        try:
            return await self.apply(batch_id, event)
        except IllegalEvent:
            return await self.find(batch_id)
        except BatchGone:
            return None
