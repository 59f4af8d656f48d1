"""The requests of one engine as rows of arrays, one row a slot.

Building objects for hundreds of requests each iteration costs more than the iteration's whole planning budget, so the
state is kept in arrays, and only what changes leaves as a delta.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.wire.credits import blocks_for


class Phase:
    """What a slot is doing. PARKED: it was preempted, in part or wholly. LOADING: it has its blocks back, and saved KV
    is copied into them. ENDED: its request is gone, but an iteration in flight or a load still writes its blocks.

    Plain numbers: they are compared with whole arrays several times an iteration, and an enum's members are slow there.
    """

    FREE: Final = 0
    WAITING: Final = 1
    RUNNING: Final = 2
    PARKED: Final = 3
    ENDED: Final = 4
    LOADING: Final = 5


class Mode:
    """How a slot's request is batched, `BatchingMode` as plain numbers for the same reason."""

    CONTINUOUS: Final = 0
    DISCRETE: Final = 1
    SLICE: Final = 2


_MODES: Final = {"Continuous": Mode.CONTINUOUS, "Discrete": Mode.DISCRETE, "Slice": Mode.SLICE}

PROGRESS = (
    "phase",
    "arrival",
    "known",
    "confirmed",
    "computed",
    "settled",
    "named",
    "reusable",
    "shared",
    "announced",
    "bypassed",
    "last_planned",
    "drafting",
    "reached",
    "deadline_ms",
    "turn_end",
    "batched",
)


@dataclass(frozen=True, slots=True)
class SlotsSnapshot:
    """Requests by slot, the columns named in `PROGRESS`, the keys of each one's full blocks, and the free slots, the
    next one to be taken last."""

    requests: tuple[EngineRequest | None, ...]
    progress: dict[str, tuple[int, ...]]
    block_keys: tuple[tuple[bytes, ...], ...]
    free: tuple[int, ...]


class SlotTable:
    """Array state, indexed by slot.

    `known` counts tokens that exist or are being sampled by an iteration in flight; `confirmed` only those whose
    sampling was committed. `computed` counts positions whose KV exists or is being computed; `settled` only those whose
    iteration was committed. `full_blocks` is what the request owns at the most; `last_planned` is the newest iteration
    with a row of this slot. `block_keys` are the keys of the context's full blocks as far as they are known, the first
    `named` of which name blocks; `reusable` is how many tokens of a waiting context were last found computed,
    `shared` how many blocks of that others held.
    `reached` is how far a preempted request had been computed, 0 once it runs again. `turn_end` is the known tokens at
    which a Slice request's turn is over, `batched` says that a Discrete request belongs to the batch that runs.

    `drafting` are the draft tokens that a row in flight verifies. How many tokens it gives is not known before its
    result; until then one is counted in `known` and `computed`, and the request is not planned again.

    Four numbers spare most iterations a look at the columns: `ended` counts the slots that are ENDED, `in_batches`
    requests whose mode is not Continuous, and `all_decode` says that the last batch left nobody waiting and no prompt
    unfinished. `changes` counts how often somebody came, left or was parked.
    """

    def __init__(self, limits: EngineLimits) -> None:
        slots = limits.max_running_requests
        self._block_tokens = limits.block_tokens
        self.phase = np.full(slots, Phase.FREE, np.int8)
        self.known = np.zeros(slots, np.int64)
        self.confirmed = np.zeros(slots, np.int64)
        self.computed = np.zeros(slots, np.int64)
        self.settled = np.zeros(slots, np.int64)
        self.named = np.zeros(slots, np.int64)
        self.reusable = np.zeros(slots, np.int64)
        self.shared = np.zeros(slots, np.int64)
        self.max_total = np.zeros(slots, np.int64)
        self.full_blocks = np.zeros(slots, np.int64)
        self.priority = np.zeros(slots, np.int64)
        self.arrival = np.zeros(slots, np.int64)
        self.deadline_ms = np.zeros(slots, np.float64)
        self.tpot_ms = np.zeros(slots, np.float64)
        self.preemptible = np.zeros(slots, np.bool_)
        self.announced = np.zeros(slots, np.bool_)
        self.bypassed = np.zeros(slots, np.int64)
        self.last_planned = np.zeros(slots, np.int64)
        self.drafting = np.zeros(slots, np.int64)
        self.speculate = np.zeros(slots, np.bool_)
        self.reached = np.zeros(slots, np.int64)
        self.mode = np.zeros(slots, np.int8)
        self.turn_end = np.zeros(slots, np.int64)
        self.batched = np.zeros(slots, np.bool_)
        self.block_keys: list[list[bytes]] = [[] for _ in range(slots)]
        self.requests: list[EngineRequest | None] = [None] * slots
        self.slot_of: dict[str, int] = {}
        self.ended = 0
        self.in_batches = 0
        self.all_decode = False
        self.changes = 0
        self._free = list(range(slots - 1, -1, -1))
        self._arrivals = 0

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which slots run, or will as soon as their KV is loaded."""
        mask: NDArray[np.bool_] = (self.phase == Phase.RUNNING) | (self.phase == Phase.LOADING)
        return mask

    @property
    def free(self) -> int:
        """Slots that a new request can take now."""
        return len(self._free)

    @property
    def free_list(self) -> tuple[int, ...]:
        """The free slots, the next one to be taken last."""
        return tuple(self._free)

    def request(self, slot: int) -> EngineRequest:
        """Return the request that holds `slot`."""
        request = self.requests[slot]
        assert request is not None, f"slot {slot} is free"
        return request

    def add(self, request: EngineRequest) -> int:
        """Put a new request into a free slot and return the slot."""
        slot = self._free.pop()
        self.all_decode = False
        self.changes += 1
        self._arrivals += 1
        self.arrival[slot] = self._arrivals
        self.phase[slot] = Phase.WAITING
        self.known[slot] = self.confirmed[slot] = request.context_tokens
        for column in (
            self.computed,
            self.settled,
            self.named,
            self.reusable,
            self.shared,
            self.bypassed,
            self.drafting,
        ):
            column[slot] = 0
        self.last_planned[slot] = 0
        self.block_keys[slot] = list(request.block_keys)
        self.reached[slot] = self.turn_end[slot] = 0
        self.announced[slot] = self.batched[slot] = False
        self._describe(slot, request)
        self.deadline_ms[slot] = request.ttft_deadline_ms
        return slot

    def requeue(self, slot: int, behind_ms: float) -> None:
        """Let a request wait behind those that came before now and are due by `behind_ms`."""
        self._arrivals += 1
        self.arrival[slot] = self._arrivals
        self.deadline_ms[slot] = behind_ms

    def _describe(self, slot: int, request: EngineRequest) -> None:
        self.requests[slot] = request
        self.slot_of[request.request_id] = slot
        self.max_total[slot] = request.max_total_tokens
        # The last token's KV is never computed, nothing follows it.
        self.full_blocks[slot] = blocks_for(request.max_total_tokens - 1, self._block_tokens)
        self.priority[slot] = request.priority
        self.mode[slot] = _MODES[request.batching]
        self.in_batches += request.batching != "Continuous"
        self.tpot_ms[slot] = request.tpot_budget_ms
        self.preemptible[slot] = request.preemptible
        self.speculate[slot] = request.speculate

    def end(self, slot: int) -> None:
        """Forget the request of `slot`; `vacate` makes the slot usable again."""
        del self.slot_of[self.request(slot).request_id]
        self.in_batches -= self.request(slot).batching != "Continuous"
        self.requests[slot] = None
        self.block_keys[slot] = []
        self.known[slot] = self.computed[slot] = 0
        self.phase[slot] = Phase.ENDED
        self.ended += 1
        self.changes += 1

    def vacate(self, slot: int) -> None:
        assert self.phase[slot] == Phase.ENDED, f"slot {slot} is in use"
        self.phase[slot] = Phase.FREE
        self.ended -= 1
        self._free.append(slot)

    def snapshot(self) -> SlotsSnapshot:
        """Return what cannot be derived from the requests: who is where, and how far."""
        progress = {name: tuple(getattr(self, name).tolist()) for name in PROGRESS}
        keys = tuple(tuple(keys) for keys in self.block_keys)
        return SlotsSnapshot(tuple(self.requests), progress, keys, self.free_list)

    def restore(self, snapshot: SlotsSnapshot) -> None:
        """Take over a snapshot of a table of the same size."""
        self._free = list(snapshot.free)
        self.changes += 1
        for name, values in snapshot.progress.items():
            getattr(self, name)[:] = values
        self.block_keys = [list(keys) for keys in snapshot.block_keys]
        self._arrivals = int(self.arrival.max())
        self.ended, self.in_batches, self.all_decode = int(np.count_nonzero(self.phase == Phase.ENDED)), 0, False
        for slot, request in enumerate(snapshot.requests):
            if request is not None:
                self._describe(slot, request)
