"""Which LoRA adapters lie in the arena, in pages of the pool that holds KV, and which of them make room.

After S-LoRA (Sheng et al., MLSys 2024): adapters are kept in host memory; a request runs only while its adapter lies in
the arena, loaded with the plan that admits the request. Residents are at most `max_adapters`, so many adapters make one
batch at the most. An adapter in a running request's use stays; of the others that one goes first which no request here
needs, then the one used longest ago. So a burst of many adapters waits instead of thrashing: requests whose adapter is
there pass those that wait for a place, as often as `batching.BYPASS_LIMIT` allows.

Unused adapters make room for requests before any running request is preempted: to load one again is a copy, while
preempted KV is computed again. What is guaranteed to running requests fits beside all pages (see `preemption`), and
with nothing running every adapter is unused, so whatever fits into the empty pool starts in the end.

Not for: models whose adapters take a large part of the pool; then most of the KV's room goes to weights.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.plans import AdapterLoad
from tierline.scheduling.slots import Phase, SlotTable

NONE = -1
_BEFORE_DIGEST = "@"


def adapter_key(name: str, digest: str) -> str:
    """Return the key of an adapter: its name and content, so that another one of that name is another adapter.

    KV that was cached with one is never taken for the other's.
    """
    return f"{name}{_BEFORE_DIGEST}{digest}"


def adapter_name(key: str) -> str:
    """Return the name in a key."""
    return key.rpartition(_BEFORE_DIGEST)[0] or key


@dataclass(slots=True)
class Adapter:
    """An adapter that requests may name by `key`: its size in pages, and its blocks while it lies in the arena.

    `used` is the newest iteration that computed with it, as far as known. A retired one takes no new requests and is
    forgotten with its last one.
    """

    key: str
    pages: int
    blocks: tuple[int, ...] = ()
    used: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class AdaptersSnapshot:
    """Every place with its adapter, and which adapter each slot has."""

    places: tuple[Adapter | None, ...]
    of_slot: tuple[int, ...]


class AdapterResidency:
    """Knows the adapters, gives them pages and takes pages back; who may run is the planner's decision.

    `of_slot` [slots] is the place of each slot's adapter, `NONE` for none; it outlives the request until the slot is
    taken again, since an iteration in flight may still read the adapter's pages.
    """

    def __init__(self, limit: int, slots: SlotTable, memory: MemoryManager, counters: EngineCounters) -> None:
        self.limit = limit
        self.of_slot = np.full(len(slots.phase), NONE, np.int64)
        self._slots = slots
        self._memory = memory
        self._counters = counters
        self._places: list[Adapter | None] = []
        self._place_of: dict[str, int] = {}

    def register(self, key: str, pages: int) -> str:
        """Let requests name `key`; returns why not, empty when they may. Known keys stay what they are."""
        if not self.limit:
            return "this worker serves no adapters: set TIERLINE_MAX_ADAPTERS (engine.maxAdapters) above 0"
        if pages >= self._memory.total:
            return f"it needs {pages} of {self._memory.total} KV blocks: raise TIERLINE_KV_CACHE_BLOCKS"
        known = self._place_of.get(key)
        if known is not None:
            self._at(known).retired = False
            return ""
        place = self._places.index(None) if None in self._places else len(self._places)
        self._places[place : place + 1] = [Adapter(key, pages)]
        self._place_of[key] = place
        return ""

    def retire(self, key: str) -> None:
        """Take no new requests for `key`; those here run to their end with it."""
        place = self._place_of[key]
        self._at(place).retired = True
        self._forget_unneeded(place)

    def serves(self, key: str) -> bool:
        """Whether a new request may name `key`."""
        place = self._place_of.get(key)
        return place is not None and not self._at(place).retired

    def known(self, key: str) -> bool:
        """Whether `key` is registered or still in use by a request."""
        return key in self._place_of

    def pages_of(self, key: str) -> int:
        """Return the size of a known adapter; 0 for none."""
        return self._at(self._place_of[key]).pages if key else 0

    def tokens_of(self, slots: NDArray[np.int32], counts: NDArray[np.int32]) -> int:
        """Return how many of the tokens of a plan's rows are computed with an adapter."""
        return int(counts[self.of_slot[slots] != NONE].sum()) if self.limit else 0

    def assign(self, slot: int, key: str) -> None:
        """Note the adapter of a slot's new request."""
        self.of_slot[slot] = self._place_of[key] if key else NONE

    def released(self, slot: int) -> None:
        """Note that the request of `slot` is gone."""
        place = int(self.of_slot[slot])
        if place != NONE:
            adapter = self._at(place)
            adapter.used = max(adapter.used, int(self._slots.last_planned[slot]))
            self._forget_unneeded(place)

    @property
    def resident(self) -> tuple[Adapter, ...]:
        """The adapters that lie in the arena."""
        return tuple(adapter for _, adapter in self._residents())

    @property
    def unused_pages(self) -> int:
        """Pages that could be given back now: of residents that no running request uses."""
        return sum(adapter.pages for _, adapter in self._unused(NONE))

    def missing_pages(self, slot: int) -> int:
        """Return how many blocks must be taken before `slot` can run, 0 when its adapter is there or it has none."""
        place = int(self.of_slot[slot])
        return self._at(place).pages if place != NONE and not self._at(place).blocks else 0

    def make_place(self, slot: int, kept: int) -> bool:
        """See to it that `slot` and `kept` others can add a resident; False when too many are in use."""
        too_many = len(self._residents()) + kept + 1 - self.limit
        if not self.missing_pages(slot) or too_many <= 0:
            return True
        unused = self._unused(int(self.of_slot[slot]))
        if too_many > len(unused):
            return False
        for place, adapter in unused[:too_many]:
            self._evict(adapter, place)
        return True

    def place_is_there(self, slot: int) -> bool:
        """Whether `slot` lacks no place among the residents: what it waits for is blocks."""
        return not self.missing_pages(slot) or len(self._residents()) < self.limit

    def make_room(self, blocks: int, slot: int = NONE) -> None:
        """Evict until `blocks` pages were given back; nothing when there are not so many unused ones.

        The adapter of `slot` stays. Blocks that an iteration in flight reads are free only after it.
        """
        unused = self._unused(int(self.of_slot[slot]) if slot != NONE else NONE)
        if blocks > sum(adapter.pages for _, adapter in unused):
            return
        for place, adapter in unused:
            if blocks <= 0:
                return
            self._evict(adapter, place)
            blocks -= adapter.pages

    def load(self, slot: int, iteration: int) -> AdapterLoad | None:
        """Note that `slot` starts in `iteration`; returns what is to be loaded for it. The caller saw to the room."""
        place = int(self.of_slot[slot])
        if place == NONE:
            return None
        adapter = self._at(place)
        adapter.used = max(adapter.used, iteration)
        if adapter.blocks:
            return None
        blocks = self._memory.take_pages(adapter.pages)
        assert blocks is not None, "an adapter is loaded without room"
        adapter.blocks = tuple(blocks.tolist())
        self._counters.adapter_loads += 1
        return AdapterLoad(adapter.key, blocks)

    def users(self) -> list[NDArray[np.int64]]:
        """Return the running slots of each adapter in use."""
        running = self._slots.active
        return [np.flatnonzero(running & (self.of_slot == place)) for place in self._places_in(running)]

    def keys_of(self, phases: NDArray[np.bool_]) -> tuple[str, ...]:
        """Return the adapters of the requests in the slots of a mask, each once."""
        return tuple(self._at(place).key for place in self._places_in(phases))

    def snapshot(self) -> AdaptersSnapshot:
        """Return the state as plain values."""
        copies = tuple(None if adapter is None else replace(adapter) for adapter in self._places)
        return AdaptersSnapshot(copies, tuple(self.of_slot.tolist()))

    def restore(self, snapshot: AdaptersSnapshot) -> None:
        """Take over a snapshot."""
        self._places = [None if adapter is None else replace(adapter) for adapter in snapshot.places]
        self._place_of = {adapter.key: place for place, adapter in enumerate(self._places) if adapter is not None}
        self.of_slot[:] = snapshot.of_slot

    def _at(self, place: int) -> Adapter:
        adapter = self._places[place]
        assert adapter is not None, f"no adapter at place {place}"
        return adapter

    def _residents(self) -> list[tuple[int, Adapter]]:
        places = enumerate(self._places)
        return [(place, adapter) for place, adapter in places if adapter is not None and adapter.blocks]

    def _unused(self, kept: int) -> list[tuple[int, Adapter]]:
        """Return residents that may go, the first to go first; the one at place `kept` stays."""
        if not self._places:
            return []
        used = {*self._places_in(self._slots.active), kept}
        waiting = (self._slots.phase == Phase.WAITING) | (self._slots.phase == Phase.PARKED)
        needed = set(self.of_slot[waiting].tolist())
        unused = [(place, adapter) for place, adapter in self._residents() if place not in used]
        return sorted(unused, key=lambda entry: (entry[0] in needed, self._last_use(*entry), entry[0]))

    def _places_in(self, mask: NDArray[np.bool_]) -> list[int]:
        places = np.unique(self.of_slot[mask])
        found: list[int] = places[places != NONE].tolist()
        return found

    def _last_use(self, place: int, adapter: Adapter) -> int:
        """Return the newest iteration that computes with an adapter, those in flight included."""
        return max(adapter.used, int(self._slots.last_planned[self.of_slot == place].max(initial=0)))

    def _evict(self, adapter: Adapter, place: int) -> None:
        self._memory.give_pages(np.array(adapter.blocks, np.int32), self._last_use(place, adapter))
        adapter.blocks = ()
        self._counters.adapter_evictions += 1

    def _forget_unneeded(self, place: int) -> None:
        adapter = self._at(place)
        here = (self._slots.phase != Phase.FREE) & (self._slots.phase != Phase.ENDED)
        if not adapter.retired or (here & (self.of_slot == place)).any():
            return
        if adapter.blocks:
            self._evict(adapter, place)
        self._places[place] = None
        del self._place_of[adapter.key]
