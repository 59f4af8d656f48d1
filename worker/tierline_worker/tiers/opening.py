"""Opens a worker's storage tiers as its settings ask, and measures them while it warms up."""

import logging
from typing import Final

import torch

from tierline.scheduling.memory.offload import OffloadModel
from tierline.scheduling.memory.transfers import Direction, StorageTier
from tierline.scheduling.plans import EngineLimits
from tierline_worker.errors import SettingsError
from tierline_worker.settings import WorkerSettings
from tierline_worker.tiers.disk_store import DiskStore
from tierline_worker.tiers.host_store import HostStore
from tierline_worker.tiers.store import Store
from tierline_worker.tiers.tiers import KVTiers

_LOG = logging.getLogger(__name__)
_CALIBRATION_PAGES: Final = 16
_CALIBRATIONS: Final = 3


def open_tiers(settings: WorkerSettings, arena: torch.Tensor) -> KVTiers:
    """Allocate the tiers below `arena`, [blocks, ...]; raises `SettingsError` for one that does not fit."""
    page_bytes = arena[0].numel() * arena.element_size()
    stores: dict[StorageTier, Store] = {}
    if settings.host_cache_blocks:
        stores[StorageTier.HOST] = _host_store(settings, page_bytes, arena.device)
    if settings.disk_cache_blocks:
        path = settings.disk_cache_dir / f"tierline-kv-{settings.worker_id}"
        stores[StorageTier.DISK] = DiskStore(path, settings.disk_cache_blocks, page_bytes)
    return KVTiers(arena, stores)


def calibrate(tiers: KVTiers, limits: EngineLimits) -> OffloadModel:
    """Return a cost model that has seen a few transfers of each tier; overwrites the arena's first blocks."""
    model = OffloadModel()
    rooms = {StorageTier.HOST: limits.host_blocks, StorageTier.DISK: limits.disk_blocks}
    for tier in tiers.kept:
        pages = min(_CALIBRATION_PAGES, rooms[tier], limits.total_blocks)
        for _ in range(_CALIBRATIONS):
            for direction in (Direction.SAVE, Direction.LOAD):
                model.observe(tier, direction, pages, tiers.measure(tier, direction, pages))
        for direction in Direction:
            page_ms = model.transfer_ms(tier, direction, 1)
            _LOG.info("a page of %d bytes takes %.3f ms to %s (%s)", tiers.page_bytes, page_ms, direction, tier)
    return model


def _host_store(settings: WorkerSettings, page_bytes: int, device: torch.device) -> HostStore:
    try:
        return HostStore(settings.host_cache_blocks, page_bytes, device)
    except (RuntimeError, MemoryError) as error:
        raise SettingsError(
            f"TIERLINE_HOST_CACHE_BLOCKS is {settings.host_cache_blocks}: the host does not hold so many, lower it"
        ) from error
