"""An executor without a model: it obeys batch plans as a device does and notices when a plan is wrong.

Its pages know whose context they hold (`pages`). Each row reads what precedes it through the block table: a block that
was given away too early or shared by mistake, a table entry that is missing or a position that was never computed makes
`CorruptContext` instead of silently wrong tokens. The next token is a function of the whole context, so preemption,
chunking and moves must not change it. Adapters' pages are written among them and must be whole whenever a row of theirs
is computed.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.features import batch_features
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.memory.transfers import Direction
from tierline.scheduling.plans import BatchPlan, EngineLimits, IterationResult
from tierline.sim.fake_tiers import FakeTiers
from tierline.sim.pages import CorruptContext, Pages

VOCABULARY = 50_021
_MULTIPLIER = 31


def next_token(context: NDArray[np.int64]) -> int:
    """Return the token this pretended model generates after `context`."""
    weights = np.arange(1, len(context) + 1, dtype=np.int64) * _MULTIPLIER % VOCABULARY
    return int((context % VOCABULARY * weights % VOCABULARY).sum() % VOCABULARY)


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

    `known_ids` returns the prompt and emitted token ids of an admitted request, `adapter_of` its adapter, `domain_of`
    what its KV depends on beside both. `is_stop` says which token ends one. `propose` drafts: of a request and its
    tokens, up to so many that may follow.
    """

    def __init__(
        self,
        limits: EngineLimits,
        truth: Coefficients,
        known_ids: Callable[[str], Sequence[int]],
        is_stop: Callable[[str, int], bool] = lambda _request_id, _token: False,
        *,
        domain_of: Callable[[str], str] = lambda _request_id: "",
        propose: Callable[[str, NDArray[np.int64], int], Sequence[int]] = lambda _request_id, _tokens, _most: (),
        adapter_of: Callable[[str], str] = lambda _request_id: "",
    ) -> None:
        slots = limits.max_running_requests
        self.block_table = np.full((slots, limits.blocks_per_request), -1, np.int32)
        self._tokens = np.full((slots, limits.max_model_tokens + 1), -1, np.int64)
        self.pages = Pages(limits)
        self.tiers = FakeTiers(limits, self.pages)
        self._truth = truth
        self._known_ids = known_ids
        self._is_stop = is_stop
        self._domain_of = domain_of
        self._propose = propose
        self._adapter_of = adapter_of
        self._adapters: dict[str, NDArray[np.int32]] = {}
        self._request_of = [""] * slots
        self._begun: deque[BatchPlan] = deque()

    def begin(self, plan: BatchPlan) -> None:
        """Apply the plan's deltas now, while earlier plans may still be computing; bytes move in the order of plans."""
        self._update(plan)
        self._begun.append(plan)

    def finish(self) -> Executed:
        """Compute the oldest plan that was begun."""
        plan = self._begun.popleft()
        self._move(plan)
        return self.compute(plan)

    def apply(self, plan: BatchPlan) -> None:
        """Take over the plan's deltas."""
        self._update(plan)
        self._move(plan)

    def _update(self, plan: BatchPlan) -> None:
        for admitted in plan.admitted:
            ids = self._known_ids(admitted.request_id)
            self._tokens[admitted.slot] = -1
            self._tokens[admitted.slot, : len(ids)] = ids
            self._request_of[admitted.slot] = admitted.request_id
        self._load_adapters(plan)
        slots, indexes, blocks = plan.block_updates.T
        self.block_table[slots, indexes] = blocks

    def _move(self, plan: BatchPlan) -> None:
        self.tiers.begin(plan.transfers, Direction.SAVE)
        self.pages.copy(plan.copies)
        self.tiers.begin(plan.transfers, Direction.LOAD)

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
            self.pages.fill(load.blocks, load.adapter)

    def _check_adapters(self, plan: BatchPlan) -> None:
        for slot in plan.slots.tolist():
            adapter = self._adapter_of(self._request_of[slot])
            if adapter and not self.pages.holds(self._adapters[adapter], adapter):
                raise CorruptContext(f"slot {slot}: adapter {adapter} was overwritten while it is in use")

    def _drafts_of(self, slot: int, end: int, most: int) -> list[int]:
        proposal = self._propose(self._request_of[slot], self._tokens[slot, :end], most) if most else ()
        return list(proposal)[:most]

    def _compute(self, slot: int, start: int, end: int, proposal: list[int]) -> None:
        tokens = np.concatenate((self._tokens[slot, :end], np.array(proposal, np.int64)))
        if (tokens < 0).any():
            raise CorruptContext(f"slot {slot}: computes position {start}..{end - 1}, not all known")
        self.pages.write(self.block_table[slot], start, tokens, self._all_else(slot))

    def _all_else(self, slot: int) -> str:
        """Name what the KV of a slot depends on beside its tokens."""
        request_id = self._request_of[slot]
        return f"{self._domain_of(request_id)}/{self._adapter_of(request_id)}"

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
        context = self._tokens[slot, :end]
        self.pages.read(self.block_table[slot], context, self._all_else(slot))
        return next_token(context)
