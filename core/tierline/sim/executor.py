"""An executor without a model: it obeys batch plans as a device does and notices when a plan is wrong.

Its KV cache holds, for each block position, the token and the position that were computed there. To sample, it reads a
request's whole context through the block table: a block that was given away too early, a table entry that is missing
or a position that was never computed makes `CorruptContext` instead of silently wrong tokens. The next token is a
function of the whole context, so preemption, chunking and moves must not change it. Adapters' pages are written into
the same cache and must be whole whenever a row of theirs is computed.
"""

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching import batch_features
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import BatchPlan, EngineLimits, IterationResult

VOCABULARY = 50_021
_MULTIPLIER = 31


class CorruptContext(AssertionError):
    """A plan made the executor read KV that is not the request's context."""


def next_token(context: NDArray[np.int64]) -> int:
    """Return the token this pretended model generates after `context`."""
    weights = np.arange(1, len(context) + 1, dtype=np.int64) * _MULTIPLIER % VOCABULARY
    return int((context % VOCABULARY * weights % VOCABULARY).sum() % VOCABULARY)


def _mark_of(adapter: str) -> int:
    """Return what an adapter's pages are filled with: no token or position is negative but -1."""
    return -2 - zlib.crc32(adapter.encode())


@dataclass(frozen=True, slots=True)
class Executed:
    """An iteration's outcome: `given[i]` is what row i sampled, several tokens where drafts were accepted."""

    result: IterationResult
    given: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> NDArray[np.int64]:
        """The first token of each row, -1 where it sampled nothing."""
        return np.array([tokens[0] if tokens else -1 for tokens in self.given], np.int64)


class FakeExecutor:
    """Executes plans in order; `begin` takes a plan over at once, as an engine planning one step ahead does.

    `known_ids` returns the prompt and emitted token ids of an admitted request, `adapter_of` its adapter. `is_stop`
    says which token ends one. `propose` drafts: of a request and its tokens, up to so many that may follow.
    """

    def __init__(
        self,
        limits: EngineLimits,
        truth: Coefficients,
        known_ids: Callable[[str], Sequence[int]],
        is_stop: Callable[[str, int], bool] = lambda _request_id, _token: False,
        *,
        propose: Callable[[str, NDArray[np.int64], int], Sequence[int]] = lambda _request_id, _tokens, _most: (),
        adapter_of: Callable[[str], str] = lambda _request_id: "",
    ) -> None:
        slots = limits.max_running_requests
        self.block_table = np.full((slots, limits.blocks_per_request), -1, np.int32)
        self._tokens = np.full((slots, limits.max_model_tokens + 1), -1, np.int64)
        self._block_tokens = limits.block_tokens
        self._cache = np.full((limits.total_blocks * limits.block_tokens, 2), -1, np.int64)
        self._truth = truth
        self._known_ids = known_ids
        self._is_stop = is_stop
        self._propose = propose
        self._adapter_of = adapter_of
        self._adapters: dict[str, NDArray[np.int32]] = {}
        self._request_of = [""] * slots
        self._begun: deque[BatchPlan] = deque()

    def begin(self, plan: BatchPlan) -> None:
        """Apply the plan's deltas now, while earlier plans may still be computing."""
        self.apply(plan)
        self._begun.append(plan)

    def finish(self) -> Executed:
        """Compute the oldest plan that was begun."""
        return self.compute(self._begun.popleft())

    def apply(self, plan: BatchPlan) -> None:
        """Take over the plan's deltas."""
        for admitted in plan.admitted:
            ids = self._known_ids(admitted.request_id)
            self._tokens[admitted.slot] = -1
            self._tokens[admitted.slot, : len(ids)] = ids
            self._request_of[admitted.slot] = admitted.request_id
        self._load_adapters(plan)
        slots, indexes, blocks = plan.block_updates.T
        self.block_table[slots, indexes] = blocks

    def compute(self, plan: BatchPlan) -> Executed:
        """Compute a plan whose deltas were applied; the same rows give the same again."""
        self._check_adapters(plan)
        drafts = plan.drafts if len(plan.drafts) else np.zeros(len(plan.slots), np.int32)
        ends = (plan.starts + plan.counts - drafts).tolist()
        proposed = [self._drafts_of(*row) for row in zip(plan.slots.tolist(), ends, drafts.tolist(), strict=True)]
        for slot, start, end, proposal in zip(plan.slots.tolist(), plan.starts.tolist(), ends, proposed, strict=True):
            self._compute(slot, start, end, proposal)
        given: list[tuple[int, ...]] = [()] * len(ends)
        stopped = np.zeros(len(ends), np.bool_)
        for row in np.flatnonzero(plan.samples).tolist():
            given[row], stopped[row] = self._verify(int(plan.slots[row]), ends[row], proposed[row])
        result = IterationResult(
            plan.iteration,
            stopped,
            self._truth.predict_ms(batch_features(plan)),
            np.array([len(tokens) for tokens in given], np.int32),
            np.array([len(proposal) for proposal in proposed], np.int32),
        )
        return Executed(result, tuple(given))

    def _load_adapters(self, plan: BatchPlan) -> None:
        for load in plan.adapters:
            self._adapters[load.adapter] = load.blocks
            self._by_block[load.blocks] = _mark_of(load.adapter)

    def _check_adapters(self, plan: BatchPlan) -> None:
        for slot in plan.slots.tolist():
            adapter = self._adapter_of(self._request_of[slot])
            if adapter and (self._by_block[self._adapters[adapter]] != _mark_of(adapter)).any():
                raise CorruptContext(f"slot {slot}: adapter {adapter} was overwritten while it is in use")

    @property
    def _by_block(self) -> NDArray[np.int64]:
        """The cache as [blocks, numbers of a block]."""
        return self._cache.reshape(-1, 2 * self._block_tokens)

    def _drafts_of(self, slot: int, end: int, most: int) -> list[int]:
        proposal = self._propose(self._request_of[slot], self._tokens[slot, :end], most) if most else ()
        return list(proposal)[:most]

    def _compute(self, slot: int, start: int, end: int, proposal: list[int]) -> None:
        positions = np.arange(start, end + len(proposal))
        tokens = np.concatenate((self._tokens[slot, start:end], np.array(proposal, np.int64)))
        if (tokens < 0).any():
            raise CorruptContext(f"slot {slot}: computes position {start}..{end - 1}, not all known")
        places = self._places(slot, positions)
        self._cache[places, 0], self._cache[places, 1] = tokens, positions

    def _verify(self, slot: int, end: int, proposal: list[int]) -> tuple[tuple[int, ...], bool]:
        """Sample after each draft that equals what was sampled before it; returns the tokens and whether one stops."""
        given: list[int] = []
        for draft in (*proposal, -1):
            given.append(self._sample(slot, end + len(given)))
            self._tokens[slot, end + len(given) - 1] = given[-1]
            if stopped := self._is_stop(self._request_of[slot], given[-1]):
                return tuple(given), stopped
            if given[-1] != draft:
                break
        return tuple(given), False

    def _sample(self, slot: int, end: int) -> int:
        positions = np.arange(end)
        read = self._cache[self._places(slot, positions)]
        if (read[:, 0] != self._tokens[slot, :end]).any() or (read[:, 1] != positions).any():
            raise CorruptContext(f"slot {slot}: the KV of {self._request_of[slot]} is not its context")
        return next_token(read[:, 0])

    def _places(self, slot: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        blocks = self.block_table[slot, positions // self._block_tokens]
        if (blocks < 0).any():
            raise CorruptContext(f"slot {slot}: position without a block")
        places: NDArray[np.int64] = blocks.astype(np.int64) * self._block_tokens + positions % self._block_tokens
        return places
