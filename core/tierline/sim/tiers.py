"""Storage tiers on virtual time: each moves one transfer after the other, as long as its pages take.

As in the worker, copies to and from host memory are made where the model computes and lengthen the iteration; the disk
has a thread of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.scheduling.memory.transfers import Direction, StorageTier, TransferResult
from tierline.scheduling.plans import BatchPlan


@dataclass(frozen=True, slots=True)
class PageTimes:
    """Milliseconds that a page takes to be saved and to be loaded."""

    save_ms: float
    load_ms: float


class SimulatedTiers:
    """The tiers of one engine whose pages take as long as `times` says."""

    def __init__(self, times: Mapping[StorageTier, PageTimes]) -> None:
        self._times = times
        self._free_at_ms = dict.fromkeys(times, 0.0)
        self._under_way: list[tuple[float, TransferResult]] = []

    @property
    def next_end_ms(self) -> float:
        """When the next transfer ends; infinite when none is under way."""
        return min((end_ms for end_ms, _ in self._under_way), default=float("inf"))

    def begin(self, plan: BatchPlan, now_ms: float) -> float:
        """Queue the transfers of a plan; returns for how long they keep the device from computing."""
        held_ms = 0.0
        for transfer in plan.transfers:
            times = self._times[transfer.tier]
            page_ms = times.save_ms if transfer.direction is Direction.SAVE else times.load_ms
            elapsed_ms = len(transfer.pages) * page_ms
            end_ms = max(now_ms, self._free_at_ms[transfer.tier]) + elapsed_ms
            self._free_at_ms[transfer.tier] = end_ms
            self._under_way.append((end_ms, TransferResult(transfer.ticket, elapsed_ms)))
            held_ms += elapsed_ms if transfer.tier is StorageTier.HOST else 0.0
        return held_ms

    def ended(self, now_ms: float) -> list[TransferResult]:
        """Return the transfers that have ended by `now_ms`, each once."""
        ended = [result for end_ms, result in self._under_way if end_ms <= now_ms]
        self._under_way = [pair for pair in self._under_way if pair[0] > now_ms]
        return ended
