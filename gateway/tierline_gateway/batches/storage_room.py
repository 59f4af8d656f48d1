"""Whether a tenant may keep something more, by the limits of the store."""

from tierline_gateway.batches.batch import KIND as BATCH
from tierline_gateway.batches.storage_limits import MEBIBYTE, StorageLimits
from tierline_gateway.batches.stored_file import KIND as FILE
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.front.api_errors import ApiError, too_many

TRY_AGAIN_S = 60


async def check_room(store: RecordStore, limits: StorageLimits, tenant: str) -> None:
    """Raise `ApiError` 429 when the tenant, or all together, keep as many bytes as they may."""
    kept, total = await store.usage(tenant), await store.usage()
    if kept.bytes >= limits.tenant_bytes:
        share = f"{kept.bytes} bytes, of {limits.tenant_bytes} that it may have"
        message = f"The tenant keeps {share}: delete files at /v1/files that you have read."
        raise too_many(message, "TooManyStoredBytes", TRY_AGAIN_S)
    if total.bytes >= limits.total_bytes:
        message = f"The gateway's storage of {limits.total_bytes // MEBIBYTE} MiB is full; try again later."
        raise too_many(message, "StorageFull", TRY_AGAIN_S)


async def has_room(store: RecordStore, limits: StorageLimits, tenant: str) -> bool:
    try:
        await check_room(store, limits, tenant)
    except ApiError:
        return False
    return True


async def check_files(store: RecordStore, limits: StorageLimits, tenant: str) -> None:
    """Raise `ApiError` 429 when the tenant has as many files as it may."""
    if (await store.usage(tenant, FILE)).records >= limits.files:
        message = f"The tenant has {limits.files} files, the most that are kept: delete some at /v1/files."
        raise too_many(message, "TooManyFiles", TRY_AGAIN_S)


async def check_batches(store: RecordStore, limits: StorageLimits, tenant: str) -> None:
    """Raise `ApiError` 429 when the tenant has as many batches as are remembered."""
    if (await store.usage(tenant, BATCH)).records >= limits.batches:
        message = f"The tenant has {limits.batches} batches, the most that are kept; each is kept for 30 days."
        raise too_many(message, "TooManyBatches", TRY_AGAIN_S)
