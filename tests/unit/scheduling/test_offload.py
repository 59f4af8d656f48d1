"""The decision of field notes §3e: host memory nearly always, disk only where computing is slow."""

import pytest

from tierline.api.decision_matrix import PreemptionSave
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.memory.offload import LARGEST_STEP, OffloadModel, TierState
from tierline.scheduling.memory.transfers import Direction, StorageTier

PAGE_TOKENS = 16
PAGES = 64
PLENTY = tuple(TierState(tier, 1000, 0.0) for tier in StorageTier)

# 8B in bf16: 128 KiB of KV a token. PCIe 50 GB/s, NVMe 3 GB/s; an H100 computes a token in 40 us, a CPU in 6 ms.
KV_BYTES = 131_072
PCIE_PAGE_MS = PAGE_TOKENS * KV_BYTES / 50e6
NVME_PAGE_MS = PAGE_TOKENS * KV_BYTES / 3e6
H100 = Coefficients(7.0, 0.040, 1.3e-6, 0.02, 5.6e-5)
CPU = Coefficients(900.0, 6.0, 2e-4, 3.0, 1e-2)


def measured(host_page_ms: float = PCIE_PAGE_MS, disk_page_ms: float = NVME_PAGE_MS) -> OffloadModel:
    model = OffloadModel()
    for tier, page_ms in ((StorageTier.HOST, host_page_ms), (StorageTier.DISK, disk_page_ms)):
        for direction in Direction:
            model.observe(tier, direction, 100, 100 * page_ms)
    return model


def recompute_ms(device: Coefficients) -> float:
    return device.chunk_ms(PAGES * PAGE_TOKENS, 0)


def test_host_memory_wins_on_an_accelerator() -> None:
    model = measured()
    assert model.save_to("Auto", PAGES, recompute_ms(H100), PLENTY) is StorageTier.HOST
    assert model.restore_ms(PLENTY[0], PAGES) == pytest.approx(2 * PAGES * PCIE_PAGE_MS)


def test_a_disk_loses_to_an_accelerator_and_wins_against_a_cpu() -> None:
    model = measured()
    only_disk = (TierState(StorageTier.HOST, PAGES - 1, 0.0), PLENTY[1])
    assert model.save_to("Auto", PAGES, recompute_ms(H100), only_disk) is None
    assert model.save_to("Auto", PAGES, recompute_ms(CPU), only_disk) is StorageTier.DISK


def test_a_queue_on_a_tier_counts() -> None:
    model = measured()
    busy = TierState(StorageTier.HOST, 1000, recompute_ms(H100))
    assert model.save_to("Auto", PAGES, recompute_ms(H100), (busy,)) is None
    assert model.save_to("Auto", PAGES, recompute_ms(CPU), (busy, PLENTY[1])) is StorageTier.HOST


@pytest.mark.parametrize(("save", "tier"), [("CPU", StorageTier.HOST), ("Disk", StorageTier.DISK), ("Recompute", None)])
def test_what_the_tiers_owner_decided_is_not_weighed(save: PreemptionSave, tier: StorageTier | None) -> None:
    assert measured().save_to(save, PAGES, 0.001, PLENTY) is tier


@pytest.mark.parametrize("save", ["Auto", "CPU", "Disk", "Recompute"])
def test_without_room_for_all_pages_it_is_computed_again(save: PreemptionSave) -> None:
    full = tuple(TierState(tier, PAGES - 1, 0.0) for tier in StorageTier)
    assert measured().save_to(save, PAGES, recompute_ms(CPU), full) is None


def test_nothing_is_saved_of_a_victim_that_computed_nothing() -> None:
    assert measured().save_to("CPU", 0, recompute_ms(CPU), PLENTY) is None


def test_a_tier_never_measured_is_tried() -> None:
    assert OffloadModel().save_to("Auto", PAGES, recompute_ms(H100), PLENTY) is StorageTier.HOST


def test_large_transfers_count_for_more_than_small_ones() -> None:
    model = OffloadModel()
    model.observe(StorageTier.DISK, Direction.SAVE, 100, 100.0)
    model.observe(StorageTier.DISK, Direction.SAVE, 1, 3.0)
    assert 1.0 < model.transfer_ms(StorageTier.DISK, Direction.SAVE, 1) < 1.05


def test_one_hiccup_moves_the_estimate_by_a_bounded_step_and_a_lasting_change_is_followed() -> None:
    model = measured(host_page_ms=1.0)
    model.observe(StorageTier.HOST, Direction.LOAD, 100, 1e9)
    assert model.transfer_ms(StorageTier.HOST, Direction.LOAD, 1) < LARGEST_STEP
    for _ in range(40):
        model.observe(StorageTier.HOST, Direction.LOAD, 100, 5000.0)
    assert model.transfer_ms(StorageTier.HOST, Direction.LOAD, 1) == pytest.approx(50.0, rel=0.01)


def test_a_tier_that_was_slow_is_tried_again() -> None:
    model = measured(disk_page_ms=20 * recompute_ms(CPU) / PAGES)
    tries = 0
    while model.save_to("Auto", PAGES, recompute_ms(CPU), PLENTY[1:]) is None:
        model.passed_over(StorageTier.DISK)
        tries += 1
    assert 100 < tries < 1000


def test_resuming_weighs_the_load_alone() -> None:
    model = measured()
    load_ms = PAGES * PCIE_PAGE_MS
    assert model.worth_loading("Auto", PAGES, 1.1 * load_ms, PLENTY[0])
    assert not model.worth_loading("Auto", PAGES, 0.9 * load_ms, PLENTY[0])
    assert model.worth_loading("CPU", PAGES, 0.9 * load_ms, PLENTY[0])
