"""The stores below the arena: every byte comes back, and a byte that did not is noticed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tierline.scheduling.memory.transfers import Direction, StorageTier, Transfer
from tierline_worker.errors import SettingsError
from tierline_worker.tiers.disk_store import DiskStore
from tierline_worker.tiers.host_store import HostStore
from tierline_worker.tiers.tiers import KVTiers

BLOCKS, PAGES = 6, 5
CPU = torch.device("cpu")


def arena_of(seed: int = 3) -> torch.Tensor:
    return torch.randn((BLOCKS, 2, 2, 1, 4, 8), generator=torch.Generator().manual_seed(seed))


def transfer(ticket: int, direction: Direction, tier: StorageTier, blocks: list[int], pages: list[int]) -> Transfer:
    return Transfer(ticket, direction, tier, np.array(blocks, np.int32), np.array(pages, np.int32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tier" / "kv-pages"


def tiers_over(arena: torch.Tensor, tier: StorageTier, path: Path, max_queued_bytes: int = 1 << 20) -> KVTiers:
    page_bytes = arena[0].numel() * arena.element_size()
    if tier is StorageTier.HOST:
        return KVTiers(arena, {tier: HostStore(PAGES, page_bytes, CPU)})
    return KVTiers(arena, {tier: DiskStore(path, PAGES, page_bytes, max_queued_bytes)})


@pytest.mark.parametrize("tier", list(StorageTier))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_blocks_come_back_bit_by_bit(tier: StorageTier, dtype: torch.dtype, path: Path) -> None:
    arena = arena_of().to(dtype)
    before = arena.clone()
    tiers = tiers_over(arena, tier, path)
    tiers.begin(transfer(1, Direction.SAVE, tier, [1, 3, 5], [4, 0, 2]))
    # The blocks belong to others from now on.
    arena[:] = 0
    tiers.begin(transfer(2, Direction.LOAD, tier, [0, 5, 1], [2, 4, 0]))
    results = []
    while len(results) < 2:
        results += tiers.wait(1.0)
    assert [(result.ticket, result.ok) for result in results] == [(1, True), (2, True)]
    assert torch.equal(arena[[0, 5, 1]], before[[5, 1, 3]])
    assert not arena[[2, 3, 4]].any()
    assert tiers.moved[tier, Direction.SAVE].bytes == 3 * tiers.page_bytes == tiers.moved[tier, Direction.LOAD].bytes
    assert tiers.moved[tier, Direction.LOAD].seconds > 0
    tiers.close()


def test_a_damaged_page_fails_the_load_and_touches_no_block(path: Path) -> None:
    arena = arena_of()
    tiers = tiers_over(arena, StorageTier.DISK, path)
    tiers.begin(transfer(1, Direction.SAVE, StorageTier.DISK, [0, 1], [0, 1]))
    assert [result.ok for result in tiers.wait(5.0)] == [True]
    with path.open("r+b") as file:
        file.seek(tiers.page_bytes + 17)
        (byte,) = file.read(1)
        file.seek(tiers.page_bytes + 17)
        file.write(bytes([byte ^ 1]))
    before = arena.clone()
    tiers.begin(transfer(2, Direction.LOAD, StorageTier.DISK, [4, 5], [0, 1]))
    assert [result.ok for result in tiers.wait(5.0)] == [False]
    assert torch.equal(arena, before)
    assert tiers.moved[StorageTier.DISK, Direction.LOAD].failed == 1
    tiers.close()


def test_a_file_cut_short_fails_the_load(path: Path) -> None:
    arena = arena_of()
    tiers = tiers_over(arena, StorageTier.DISK, path)
    tiers.begin(transfer(1, Direction.SAVE, StorageTier.DISK, [0], [4]))
    tiers.wait(5.0)
    path.open("r+b").truncate(tiers.page_bytes)
    tiers.begin(transfer(2, Direction.LOAD, StorageTier.DISK, [0], [4]))
    assert [result.ok for result in tiers.wait(5.0)] == [False]
    tiers.close()


def test_a_full_queue_refuses_at_once_instead_of_waiting(path: Path) -> None:
    arena = arena_of()
    page_bytes = arena[0].numel() * arena.element_size()
    tiers = tiers_over(arena, StorageTier.DISK, path, max_queued_bytes=2 * page_bytes)
    tiers.begin(transfer(1, Direction.SAVE, StorageTier.DISK, [0, 1], [0, 1]))
    tiers.begin(transfer(2, Direction.SAVE, StorageTier.DISK, [2], [2]))
    assert [(result.ticket, result.ok) for result in tiers.completed()][:1] == [(2, False)]
    tiers.settle()
    tiers.begin(transfer(3, Direction.SAVE, StorageTier.DISK, [2], [2]))
    assert [(result.ticket, result.ok) for result in tiers.wait(5.0)] == [(3, True)]
    tiers.close()


def test_what_is_under_way_can_be_waited_for_and_forgotten(path: Path) -> None:
    tiers = tiers_over(arena_of(), StorageTier.DISK, path)
    for ticket in range(1, 4):
        tiers.begin(transfer(ticket, Direction.SAVE, StorageTier.DISK, [0], [ticket]))
    tiers.settle()
    assert tiers.completed() == []
    tiers.begin(transfer(1, Direction.SAVE, StorageTier.DISK, [0], [0]))
    assert [result.ticket for result in tiers.wait(5.0)] == [1]
    tiers.close()


@pytest.mark.parametrize("tier", list(StorageTier))
def test_a_tier_can_be_measured(tier: StorageTier, path: Path) -> None:
    tiers = tiers_over(arena_of(), tier, path)
    assert all(tiers.measure(tier, direction, 3) > 0 for direction in (Direction.SAVE, Direction.LOAD))
    tiers.close()


def test_closing_leaves_no_file(path: Path) -> None:
    tiers = tiers_over(arena_of(), StorageTier.DISK, path)
    assert path.exists()
    tiers.close()
    assert not path.exists()


def test_a_disk_without_room_names_both_settings(path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TIERLINE_DISK_CACHE_BLOCKS.*TIERLINE_DISK_CACHE_DIR"):
        DiskStore(path, 1 << 40, 1 << 20)
    assert not path.exists()
