"""Which parked request's KV lies on which pages, and the transfers that bring it there and back.

A victim gives up blocks from its tail, so what is saved of one request is a run of segments that ends at the last token
it had computed. A segment whose save or load failed is as if it had never been saved, and with it all that follows it,
since KV is of no use without what precedes it: that part is computed again.

Nothing here waits. Pages and blocks that a transfer still touches stay out of everyone's reach until it has ended, also
when its request is gone; each transfer ends, so nothing is held for ever. A request resumes only when its saves have
ended, and gets all its blocks before its load begins, so a load never waits for blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.offload import OffloadModel, TierState
from tierline.scheduling.memory.tier_pages import PagePool
from tierline.scheduling.memory.transfers import Direction, StorageTier, Transfer, TransferResult
from tierline.scheduling.plans import EngineLimits, EngineRequest

NOBODY = -1
Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Lost:
    """What a victim gives up: `blocks` with its KV from `first_block` up to position `end`, which is there after
    iteration `after`, and the time that computing it again takes."""

    blocks: Numbers
    first_block: int
    end: int
    after: int
    recompute_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A request's KV from block `first_block` on, up to position `end`, on `pages` of `tier`."""

    tier: StorageTier
    pages: Numbers
    first_block: int
    end: int


@dataclass(slots=True)
class UnderWay:
    """A transfer that has not ended, and the slot that waits for it (`NOBODY` once its request is gone).

    It is told with a plan later than `after`: a victim may have a row in the very plan for which it yields.
    """

    transfer: Transfer
    segment: Segment
    slot: int
    after: int


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """Segments by slot as (tier, pages, first block, end); transfers under way as (ticket, direction, blocks, slot,
    after) and their segment, of whose pages they move the last; tickets the executor was not told yet; free pages by
    tier; the last ticket."""

    segments: tuple[tuple[int, tuple["_Plain", ...]], ...]
    under_way: tuple[tuple[int, str, tuple[int, ...], int, int, "_Plain"], ...]
    untold: tuple[int, ...]
    free: tuple[tuple[int, ...], ...]
    ticket: int


_Plain = tuple[str, tuple[int, ...], int, int]


class SavedContexts:
    """The saved part of every parked request. `end` [slots] is up to which position KV is saved, 0 where none is."""

    def __init__(self, limits: EngineLimits, model: OffloadModel, counters: EngineCounters) -> None:
        self.model = model
        self.end = np.zeros(limits.max_running_requests, np.int64)
        self.pools = {
            StorageTier.HOST: PagePool(limits.host_blocks),
            StorageTier.DISK: PagePool(limits.disk_blocks),
        }
        self.under_way: dict[int, UnderWay] = {}
        self._block_tokens = limits.block_tokens
        self._counters = counters
        self._segments: dict[int, list[Segment]] = {}
        self._untold: list[int] = []
        self._ticket = 0

    @property
    def untold(self) -> int:
        """Transfers that the executor was not told yet."""
        return len(self._untold)

    @property
    def waiting_slots(self) -> set[int]:
        """Slots whose request waits for a transfer."""
        return {way.slot for way in self.under_way.values()} - {NOBODY} if self.under_way else set()

    @property
    def loading_slots(self) -> set[int]:
        """Slots whose blocks are written by a load, also when their request is gone."""
        return {way.slot for way in self.under_way.values() if way.transfer.direction is Direction.LOAD} - {NOBODY}

    def segments(self, slot: int) -> tuple[Segment, ...]:
        """What is saved of `slot`, from its head to its tail."""
        return tuple(self._segments.get(slot, ()))

    def held(self) -> Iterator[Segment]:
        """Every segment that is kept or touched by a transfer, each once."""
        kept = [segment for run in self._segments.values() for segment in run]
        yield from kept
        yield from (way.segment for way in self.under_way.values() if way.segment not in kept)

    def save(self, slot: int, request: EngineRequest, lost: Lost) -> StorageTier | None:
        """Save what `slot` is about to lose, if that is wanted and pays; else forget all that is saved of it."""
        states = self._states()
        tier = self.model.save_to(request.save, len(lost.blocks), lost.recompute_ms, states)
        if tier is None:
            self._passed_over(request, len(lost.blocks), states)
            self.drop(slot)
            return None
        segment = Segment(tier, self.pools[tier].take(len(lost.blocks)), lost.first_block, lost.end)
        self._segments.setdefault(slot, []).insert(0, segment)
        self.end[slot] = self._segments[slot][-1].end
        self._begin(Transfer(self._next(), Direction.SAVE, tier, lost.blocks, segment.pages), segment, slot, lost.after)
        return tier

    def worth_loading(self, slot: int, request: EngineRequest, recompute_ms: float) -> bool:
        """Say whether what is saved of `slot` is loaded rather than computed again."""
        states = {state.tier: state for state in self._states()}
        pages = dict.fromkeys(StorageTier, 0)
        for segment in self._segments[slot]:
            pages[segment.tier] += len(segment.pages)
        return all(
            self.model.worth_loading(request.save, count, recompute_ms, states[tier])
            for tier, count in pages.items()
            if count
        )

    def load(self, slot: int, table: Numbers, first_block: int) -> None:
        """Bring what is saved of `slot` from `first_block` on back into the blocks of `table`, its row of the block
        table."""
        for segment in self._segments[slot]:
            skipped = max(first_block - segment.first_block, 0)
            pages = segment.pages[skipped:]
            first = segment.first_block + skipped
            if len(pages):
                blocks = table[first : first + len(pages)].copy()
                self._begin(Transfer(self._next(), Direction.LOAD, segment.tier, blocks, pages), segment, slot, 0)

    def ended(self, result: TransferResult) -> UnderWay | None:
        """Take in how a transfer ended; returns it, None when its ticket is not known."""
        way = self.under_way.pop(result.ticket, None)
        if way is None:
            return None
        transfer, segment = way.transfer, way.segment
        if result.ok:
            self.model.observe(transfer.tier, transfer.direction, len(transfer.pages), result.elapsed_ms)
        else:
            self._lose(way.slot, segment)
        if not self._keeps(way):
            self.pools[segment.tier].give_back(segment.pages)
        elif transfer.direction is Direction.SAVE:
            self._counters.saved_tokens += segment.end - segment.first_block * self._block_tokens
        return way

    def loaded(self, slot: int, kept_tokens: int) -> int:
        """Give the pages of a slot back that waits for nothing any more; returns how far its KV is there again."""
        end = max(int(self.end[slot]), kept_tokens)
        self._counters.restored_tokens += end - kept_tokens
        self.drop(slot)
        return end

    def drop(self, slot: int) -> None:
        """Forget what is saved of `slot`; pages that a transfer still touches come free when it has ended."""
        self.end[slot] = 0
        if not self._segments and not self.under_way:
            return
        touched = [way.segment for way in self.under_way.values()]
        for segment in self._segments.pop(slot, []):
            if segment not in touched:
                self.pools[segment.tier].give_back(segment.pages)
        for way in self.under_way.values():
            if way.slot == slot and way.transfer.direction is Direction.SAVE:
                way.slot = NOBODY

    def leave(self, slot: int) -> bool:
        """Forget `slot`, whose request is gone; returns whether its blocks must stay until a load has ended."""
        self.drop(slot)
        return slot in self.loading_slots

    def take_transfers(self, iteration: int) -> tuple[Transfer, ...]:
        """Return the transfers that the plan of `iteration` tells, each once."""
        if not self._untold:
            return ()
        told = [ticket for ticket in self._untold if self.under_way[ticket].after < iteration]
        self._untold = [ticket for ticket in self._untold if ticket not in told]
        return tuple(self.under_way[ticket].transfer for ticket in told)

    def snapshot(self) -> SavedSnapshot:
        """Return the state as plain values."""
        return SavedSnapshot(
            tuple((slot, tuple(_plain(segment) for segment in run)) for slot, run in sorted(self._segments.items())),
            tuple(_plain_way(ticket, way) for ticket, way in self.under_way.items()),
            tuple(self._untold),
            tuple(tuple(self.pools[tier].free_list.tolist()) for tier in StorageTier),
            self._ticket,
        )

    def restore(self, snapshot: SavedSnapshot) -> None:
        """Take over a snapshot of the same limits."""
        known: dict[_Plain, Segment] = {}
        for slot, run in snapshot.segments:
            self._segments[slot] = [known.setdefault(plain, _segment(plain)) for plain in run]
            self.end[slot] = run[-1][-1]
        for ticket, direction, blocks, slot, after, plain in snapshot.under_way:
            segment = known.setdefault(plain, _segment(plain))
            pages = segment.pages[len(segment.pages) - len(blocks) :]
            transfer = Transfer(ticket, Direction(direction), segment.tier, np.array(blocks, np.int32), pages)
            self.under_way[ticket] = UnderWay(transfer, segment, slot, after)
        self._untold = list(snapshot.untold)
        for tier, free in zip(StorageTier, snapshot.free, strict=True):
            self.pools[tier].restore(free)
        self._ticket = snapshot.ticket

    def _next(self) -> int:
        self._ticket += 1
        return self._ticket

    def _begin(self, transfer: Transfer, segment: Segment, slot: int, after: int) -> None:
        self.under_way[transfer.ticket] = UnderWay(transfer, segment, slot, after)
        self._untold.append(transfer.ticket)

    def _keeps(self, way: UnderWay) -> bool:
        return way.segment in self._segments.get(way.slot, ())

    def _lose(self, slot: int, segment: Segment) -> None:
        """Forget `segment` and what follows it: KV without what precedes it is of no use."""
        run = self._segments.get(slot, [])
        if segment not in run:
            return
        first = run.index(segment)
        lost, self._segments[slot] = run[first:], run[:first]
        if not first:
            del self._segments[slot]
        self.end[slot] = run[first - 1].end if first else 0
        touched = [segment, *(way.segment for way in self.under_way.values())]
        for follower in lost:
            if follower not in touched:
                self.pools[follower.tier].give_back(follower.pages)

    def _states(self) -> tuple[TierState, ...]:
        queued_ms = dict.fromkeys(StorageTier, 0.0)
        for way in self.under_way.values():
            transfer = way.transfer
            queued_ms[transfer.tier] += self.model.transfer_ms(transfer.tier, transfer.direction, len(transfer.pages))
        return tuple(TierState(tier, self.pools[tier].free, queued_ms[tier]) for tier in StorageTier)

    def _passed_over(self, request: EngineRequest, pages: int, states: tuple[TierState, ...]) -> None:
        for state in states:
            if request.save == "Auto" and 0 < pages <= state.free_pages:
                self.model.passed_over(state.tier)


def _plain(segment: Segment) -> _Plain:
    return segment.tier.value, tuple(segment.pages.tolist()), segment.first_block, segment.end


def _plain_way(ticket: int, way: UnderWay) -> tuple[int, str, tuple[int, ...], int, int, _Plain]:
    transfer = way.transfer
    return ticket, transfer.direction.value, tuple(transfer.blocks.tolist()), way.slot, way.after, _plain(way.segment)


def _segment(plain: _Plain) -> Segment:
    tier, pages, first_block, end = plain
    return Segment(StorageTier(tier), np.array(pages, np.int32), first_block, end)
