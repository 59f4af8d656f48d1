"""Batches of all tenants: made within their limits, and held by one process at a time."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tierline_gateway.batches.batch import KIND, Batch
from tierline_gateway.batches.batch_runner import BatchRunner
from tierline_gateway.batches.files import Files
from tierline_gateway.batches.line_runner import LINES_KEPT_S
from tierline_gateway.batches.registry import BatchGone, BatchRegistry
from tierline_gateway.batches.storage_limits import StorageLimits
from tierline_gateway.batches.storage_room import check_batches, check_room
from tierline_gateway.batches.stored_file import PURPOSE_INPUT, StoredFile
from tierline_gateway.batches.transitions import CancelAsked, IllegalEvent
from tierline_gateway.deferred.holding import Holding
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.front.api_errors import ApiError, invalid, too_many

AT_ONCE = 64
"""So many batches one process runs at a time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks of a new batch, already checked."""

    endpoint: str
    input_file_id: str
    tier: str
    window: str
    window_s: float
    kept_seconds: float
    metadata: Mapping[str, str] | None


class Batches:
    """All batches of one store; `holder` names this process among those that share it."""

    def __init__(self, store: RecordStore, holder: str, client: PatientClient, limits: StorageLimits) -> None:
        self._store = store
        self.files = Files(store, limits)
        self.registry = BatchRegistry(store)
        runner = BatchRunner(store, self.files, self.registry, client)
        self.holding = Holding(store, KIND, holder, AT_ONCE, runner.run)

    async def create(self, tenant: str, asked: Asked) -> Batch:
        """Return a batch that is stored; raises `ApiError`."""
        await self._check_limits(tenant)
        now_s = time.time()
        batch = Batch(
            id=f"batch_{secrets.token_hex(12)}",
            tenant=tenant,
            endpoint=asked.endpoint,
            input_file_id=asked.input_file_id,
            tier=asked.tier,
            window=asked.window,
            created_s=now_s,
            expires_s=now_s + asked.window_s,
            kept_seconds=asked.kept_seconds,
            metadata=asked.metadata,
        )
        file = await self.files.find(tenant, asked.input_file_id)
        if file is None or not await self.files.keep_until(file, batch.expires_s + LINES_KEPT_S):
            raise invalid(
                "input_file_id", f"There is no file {asked.input_file_id!r} that can be kept so long; upload it."
            )
        if file.purpose != PURPOSE_INPUT:
            raise invalid("input_file_id", f"The file's purpose is {file.purpose}; upload it with purpose=batch.")
        await self.holding.put(batch.record())
        return batch

    async def cancel(self, tenant: str, batch_id: str) -> Batch | None:
        """Ask for a batch's end; returns None when there is none of this tenant, raises `ApiError` when it is over."""
        if await self.registry.find(batch_id, tenant) is None:
            return None
        try:
            return await self.registry.apply(batch_id, CancelAsked())
        except BatchGone:
            return None
        except IllegalEvent:
            now = await self.registry.find(batch_id, tenant)
            message = f"The batch is {now.status if now else 'gone'}; only one that is not can be cancelled."
            raise ApiError(409, message, "BatchOver", code="batch_over") from None

    async def delete_file(self, file: StoredFile) -> None:
        """Delete a file; raises `ApiError` 409 when an open batch needs it."""
        for batch in await self.registry.owned(file.tenant):
            if batch.input_file_id == file.id and not batch.over:
                message = f"The file is the input of {batch.id}, which is {batch.status}: cancel that first."
                raise ApiError(409, message, "FileInUse", code="file_in_use")
        await self.files.delete(file.id)

    async def _check_limits(self, tenant: str) -> None:
        limits = self.files.limits
        await check_batches(self._store, limits, tenant)
        await check_room(self._store, limits, tenant)
        open_batches = sum(not batch.over for batch in await self.registry.owned(tenant))
        if open_batches >= limits.open_batches:
            message = f"The tenant has {open_batches} batches that are not over, the most at a time; wait for one."
            raise too_many(message, "TooManyBatches", 60)
