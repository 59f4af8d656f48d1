"""Where the KV of a preempted request goes: to host memory, to disk, or away, to be computed again.

    restore_ms(tier) = pages * (save_page_ms + load_page_ms) + queued_ms(tier)
    recompute_ms     = LatencyModel.chunk_ms(lost tokens, kept tokens)

`Auto` takes the tier with the smallest `restore_ms` if that is below `recompute_ms`, else it recomputes. `CPU`, `Disk`
and `Recompute` are what their tier's owner decided and are not weighed; a tier without room for all pages is never
taken, the victim is then recomputed. When a request resumes, its save is paid for: it is loaded while loading alone is
cheaper than computing.

Inputs: the milliseconds a page takes, per tier and direction, learned from measured transfers as a ratio of sums that
forget (so large transfers count for more than small ones), begun by a calibration while the worker warms up; what is
already queued on the tier; the latency model's cost of a prompt chunk. Bounds: a measurement moves the estimate by a
factor of `LARGEST_STEP` at the most, since one hiccup of a disk says little; a tier that was never measured counts as
free, so that it is tried once; one that loses by its cost is held for a little cheaper each time, so that a tier that
was slow once is tried again after some hundred preemptions and not forgotten for ever.

Not for: contexts of a few tokens (recomputing wins), disks on accelerators whose prompt throughput beats them (on an
H100 a disk of 3 GB/s loses for every model below 8B; `Auto` finds that out), KV that must outlive the worker.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tierline.api.decision_matrix import PreemptionSave
from tierline.scheduling.memory.transfers import Direction, StorageTier

MEMORY: Final = 0.8
"""What remains of the past's weight when a transfer is measured."""

LARGEST_STEP: Final = 4.0
RETRY: Final = 0.99

_ONLY: Final[Mapping[PreemptionSave, tuple[StorageTier, ...]]] = {
    "Auto": (StorageTier.HOST, StorageTier.DISK),
    "CPU": (StorageTier.HOST,),
    "Disk": (StorageTier.DISK,),
    "Recompute": (),
}


@dataclass(slots=True)
class _Rate:
    """Milliseconds per page as a ratio of two sums that forget; 0 before the first measurement."""

    elapsed_ms: float = 0.0
    pages: float = 0.0

    @property
    def page_ms(self) -> float:
        return self.elapsed_ms / self.pages if self.pages else 0.0

    def observe(self, pages: int, elapsed_ms: float) -> None:
        if self.page_ms:
            usual_ms = pages * self.page_ms
            elapsed_ms = min(max(elapsed_ms, usual_ms / LARGEST_STEP), usual_ms * LARGEST_STEP)
        self.elapsed_ms = MEMORY * self.elapsed_ms + elapsed_ms
        self.pages = MEMORY * self.pages + pages


@dataclass(frozen=True, slots=True)
class TierState:
    """A tier at the moment of a decision: its free pages and how long what is queued there will take."""

    tier: StorageTier
    free_pages: int
    queued_ms: float


@dataclass(slots=True)
class OffloadModel:
    """What transfers cost on this worker, and the decisions that follow from it."""

    _rates: dict[tuple[StorageTier, Direction], _Rate] = field(
        default_factory=lambda: {(tier, direction): _Rate() for tier in StorageTier for direction in Direction}
    )

    def observe(self, tier: StorageTier, direction: Direction, pages: int, elapsed_ms: float) -> None:
        """Learn from one transfer of `pages` pages; what took no time or has no pages teaches nothing."""
        if pages > 0 and elapsed_ms > 0:
            self._rates[tier, direction].observe(pages, elapsed_ms)

    def passed_over(self, tier: StorageTier) -> None:
        """Note that `tier` lost by its cost: it is held for a little cheaper from now on."""
        for direction in Direction:
            self._rates[tier, direction].elapsed_ms *= RETRY

    def transfer_ms(self, tier: StorageTier, direction: Direction, pages: int) -> float:
        """Return how long such a transfer takes by itself."""
        return pages * self._rates[tier, direction].page_ms

    def restore_ms(self, state: TierState, pages: int) -> float:
        """Return what saving `pages` to a tier and loading them again costs."""
        moved_ms = sum(self.transfer_ms(state.tier, direction, pages) for direction in Direction)
        return moved_ms + state.queued_ms

    def save_to(
        self, save: PreemptionSave, pages: int, recompute_ms: float, tiers: Iterable[TierState]
    ) -> StorageTier | None:
        """Return where a victim's `pages` go, None when they are dropped."""
        able = [state for state in tiers if state.tier in _ONLY[save] and 0 < pages <= state.free_pages]
        if not able:
            return None
        best = min(able, key=lambda state: self.restore_ms(state, pages))
        weighed = save == "Auto"
        return None if weighed and self.restore_ms(best, pages) >= recompute_ms else best.tier

    def worth_loading(self, save: PreemptionSave, pages: int, recompute_ms: float, state: TierState) -> bool:
        """Say whether saved pages are loaded, now that their request can go on, or dropped for computing again."""
        load_ms = self.transfer_ms(state.tier, Direction.LOAD, pages) + state.queued_ms
        return save != "Auto" or load_ms < recompute_ms
