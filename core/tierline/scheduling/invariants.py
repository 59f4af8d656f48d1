"""What must hold in a scheduling core after every step.

`check_invariants` costs more than planning itself; `CheckedSchedulerCore` runs it after each step and is the debug
switch of a running engine.
"""

import numpy as np

from tierline.scheduling.core import MAX_IN_FLIGHT, SchedulerCore
from tierline.scheduling.memory.blocks import BlockState
from tierline.scheduling.memory.transfers import TransferResult
from tierline.scheduling.plans import BatchPlan, Committed, EngineRequest, IterationResult
from tierline.scheduling.slots import Phase
from tierline.wire.frames import NackReason


class InvariantBroken(AssertionError):
    """The core's state contradicts itself; the message says where."""


def check_invariants(core: SchedulerCore) -> None:
    """Raise `InvariantBroken` unless every invariant holds."""
    _check_blocks(core)
    _check_names(core)
    _check_pages(core)
    _check_slots(core)
    _check_tokens(core)
    _check_adapters(core)
    _check_guarantees(core)
    _check_plans(core)


class CheckedSchedulerCore(SchedulerCore):
    """A core that checks itself after each step, and its promise to plan whenever the device is idle."""

    def submit(self, request: EngineRequest) -> NackReason | None:
        """As `SchedulerCore.submit`."""
        refused = super().submit(request)
        check_invariants(self)
        return refused

    def cancel(self, request_id: str) -> bool:
        """As `SchedulerCore.cancel`."""
        found = super().cancel(request_id)
        check_invariants(self)
        return found

    def plan(self, now_ms: float) -> BatchPlan | None:
        """As `SchedulerCore.plan`."""
        plan = super().plan(now_ms)
        waits = bool(self.in_flight) or self.awaiting_transfers
        _require(plan is not None or waits or self.empty, "requests are here, the device idles")
        check_invariants(self)
        return plan

    def commit(self, result: IterationResult) -> Committed:
        """As `SchedulerCore.commit`."""
        committed = super().commit(result)
        check_invariants(self)
        return committed

    def transferred(self, result: TransferResult) -> None:
        """As `SchedulerCore.transferred`."""
        super().transferred(result)
        check_invariants(self)


def _require(holds: bool, broken: str) -> None:
    if not holds:
        raise InvariantBroken(broken)


def _check_blocks(core: SchedulerCore) -> None:
    """Every block is free, owned, a page, cooling or cached; references equal table entries."""
    memory = core.memory
    entries = np.zeros(memory.total, np.int64)
    for slot, owned in enumerate(memory.owned.tolist()):
        blocks = memory.table[slot, :owned]
        _require(len(np.unique(blocks)) == owned, f"slot {slot} holds a block twice")
        np.add.at(entries, blocks, 1)
    paged = memory.state == BlockState.PAGE
    _require(bool((memory.references == entries + paged).all()), "references to a block are not its table entries")
    _require(memory.pages == int(paged.sum()), "pages are miscounted")
    expected = np.where(entries > 0, BlockState.OWNED, np.where(paged, BlockState.PAGE, -1))
    for state, blocks in (
        (BlockState.FREE, memory.free_list),
        (BlockState.COOLING, memory.cooling_list),
        (BlockState.CACHED, np.array(memory.cache.idle_list, np.int32)),
    ):
        _require(bool((expected[blocks] == -1).all()), "a block in two places")
        expected[blocks] = state
    _require(bool((memory.state == expected).all()), "blocks in no place, or not in the state of their place")


def _check_names(core: SchedulerCore) -> None:
    """Keys and blocks are paired; what nobody may find has no name."""
    memory = core.memory
    named = [block for _, block in memory.cache.pairs]
    _require(len(set(named)) == len(named), "two keys name one block")
    _require(all(block in memory.cache for block in named), "a key names a block that does not know it")
    nameless = (BlockState.FREE, BlockState.PAGE)
    _require(not np.isin(memory.state[named], nameless).any(), "a free block or a page has a name")
    _require(all(block in memory.cache for block in memory.cache.idle_list), "a cached block has no name")


def _check_pages(core: SchedulerCore) -> None:
    """Every page of a tier is free or holds one segment; what is saved of a request goes on where its blocks end."""
    saved = core.saved
    for tier, pool in saved.pools.items():
        held = [segment.pages for segment in saved.held() if segment.tier is tier]
        pages = np.sort(np.concatenate((pool.free_list, *held)))
        _require(bool(np.array_equal(pages, np.arange(pool.total))), f"pages of {tier} in no place or in several")
    for slot in np.flatnonzero(saved.end).tolist():
        parked = core.slots.phase[slot] in (Phase.PARKED, Phase.LOADING)
        _require(parked, "KV is saved of a request that was not preempted")
        reached = int(core.slots.computed[slot])
        for segment in saved.segments(slot):
            start = segment.first_block * core.limits.block_tokens
            _require(start <= reached, f"what is saved of slot {slot} has a gap")
            reached = max(reached, segment.end)
        _require(reached == saved.end[slot], f"what is saved of slot {slot} ends elsewhere")
        _require(reached < core.slots.known[slot], "KV of tokens that are not known is saved")


def _check_slots(core: SchedulerCore) -> None:
    """Requests and slots are paired; who waits owns nothing; ended slots wait for a plan in flight or a load."""
    slots = core.slots
    held = {slot: request.request_id for slot, request in enumerate(slots.requests) if request is not None}
    _require({slot: rid for rid, slot in slots.slot_of.items()} == held, "requests and slots disagree")
    vacant = (slots.phase == Phase.FREE) | (slots.phase == Phase.ENDED)
    _require(set(np.flatnonzero(~vacant).tolist()) == set(held), "a phase disagrees with its slot's request")
    _require(sorted(slots.free_list) == np.flatnonzero(slots.phase == Phase.FREE).tolist(), "free slots disagree")
    loading = core.saved.loading_slots
    holders = np.isin(slots.phase, (Phase.RUNNING, Phase.PARKED, Phase.LOADING))
    holders[list(loading)] = True
    _require(not core.memory.owned[~holders].any(), "a request that waits owns blocks")
    in_flight = {int(slot) for flight in core.in_flight for slot in flight.plan.slots}
    ended = set(np.flatnonzero(slots.phase == Phase.ENDED).tolist())
    _require(ended <= in_flight | loading, "an ended slot waits for nothing")
    loads = set(np.flatnonzero(slots.phase == Phase.LOADING).tolist())
    _require(loads == loading - ended, "a slot is LOADING without a load, or loads in another phase")


def _check_tokens(core: SchedulerCore) -> None:
    """computed <= known <= max total, KV only in own blocks, and what is not confirmed is being sampled."""
    slots, memory = core.slots, core.memory
    held = np.flatnonzero((slots.phase != Phase.FREE) & (slots.phase != Phase.ENDED))
    _require(bool((slots.computed[held] >= 0).all()), "negative context")
    _require(bool((slots.computed[held] < slots.known[held]).all()), "computed a token that is not known")
    _require(bool((slots.known[held] <= slots.max_total[held]).all()), "more tokens than asked")
    running = np.flatnonzero(slots.phase == Phase.RUNNING)
    capacity = memory.owned[running] * core.limits.block_tokens
    _require(bool((slots.computed[running] + slots.drafting[running] <= capacity).all()), "context without blocks")
    _require(bool((slots.known + slots.drafting <= slots.max_total)[held].all()), "more drafts than tokens asked")
    _require(bool((memory.owned[running] <= slots.full_blocks[running]).all()), "more blocks than a full request")
    _require(bool((slots.settled[held] <= slots.computed[held]).all()), "settled what is not computed")
    sampling = np.zeros(len(slots.phase), np.int64)
    for flight in core.in_flight:
        rows = slots.phase[flight.plan.slots] == Phase.RUNNING
        settled = slots.settled[flight.plan.slots]
        _require(bool((settled <= flight.plan.starts)[rows].all()), "settled what is in flight")
        np.add.at(sampling, flight.plan.slots[flight.plan.samples], 1)
    _require(bool((slots.known - slots.confirmed == sampling)[held].all()), "unconfirmed tokens are not in flight")
    _check_drafts(core)


def _check_drafts(core: SchedulerCore) -> None:
    """A slot drafts what its row in flight verifies, and that row is its newest."""
    drafting = np.zeros(len(core.slots.phase), np.int64)
    for flight in core.in_flight:
        plan = flight.plan
        _require(not drafting[plan.slots].any(), "a row of unknown length was planned again")
        if len(plan.drafts):
            drafting[plan.slots] = plan.drafts
            _require(bool((plan.counts > plan.drafts).all()), "a row of nothing but drafts")
            _require(not plan.drafts[: plan.decodes].any(), "a decode row with drafts")
    _require(bool((core.slots.drafting == drafting).all()), "drafts and plans in flight disagree")


def _check_adapters(core: SchedulerCore) -> None:
    """Pages belong to one resident each; who runs finds its adapter; what an iteration in flight reads is kept."""
    adapters, memory = core.adapters, core.memory
    resident = {adapter.key: adapter.blocks for adapter in adapters.resident}
    pages = [block for blocks in resident.values() for block in blocks]
    _require(len(resident) <= adapters.limit, "more resident adapters than allowed")
    _require(len(set(pages)) == len(pages) == memory.pages, "a page that is no adapter's, or two adapters'")
    _require(bool((memory.state[pages] == BlockState.PAGE).all()), "an adapter lies in a block that is no page")
    running = adapters.keys_of(core.slots.phase == Phase.RUNNING)
    _require(set(running) <= set(resident), "a request runs without its adapter")
    requests = {request.adapter for request in core.slots.requests if request is not None and request.adapter}
    _require(all(adapters.known(key) for key in requests), "a request's adapter was forgotten")


def _check_guarantees(core: SchedulerCore) -> None:
    """Guaranteed requests fit together at full length, and one exists whenever something runs."""
    guaranteed = core.preemptor.guaranteed()
    full = int(core.slots.full_blocks[guaranteed].sum())
    there = core.memory.total - core.memory.pages
    _require(full <= there, f"{full} blocks guaranteed of {there}")
    running = core.slots.phase == Phase.RUNNING
    _require(bool(guaranteed.any()) or not running.any(), "requests run and none is sure to finish")


def _check_plans(core: SchedulerCore) -> None:
    """Plans in flight are consecutive and within the limits."""
    numbers = [flight.plan.iteration for flight in core.in_flight]
    _require(numbers == list(range(core.iteration - len(numbers) + 1, core.iteration + 1)), "iterations out of order")
    _require(len(numbers) <= MAX_IN_FLIGHT, "too many plans in flight")
    for flight in core.in_flight:
        plan = flight.plan
        _require(plan.tokens <= core.limits.max_batched_tokens, "a plan over the token budget")
        _require(plan.tokens > 0 or bool(plan.transfers), "a plan of nothing")
        _require(len(np.unique(plan.slots)) == len(plan.slots), "a slot twice in a plan")
        _require(bool((plan.counts[: plan.decodes] == 1).all()), "a decode row of several tokens")
