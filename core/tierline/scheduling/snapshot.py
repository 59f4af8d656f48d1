"""A scheduling core's whole state as plain values: for a debug dump, and to prove that nothing is kept beside it."""

from collections import deque
from dataclasses import dataclass

from tierline.scheduling.batching.batch import InFlight
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.memory.adapters import AdaptersSnapshot
from tierline.scheduling.memory.blocks import MemorySnapshot
from tierline.scheduling.memory.offload import OffloadModel
from tierline.scheduling.memory.saved_context import SavedSnapshot
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import SlotsSnapshot
from tierline.scheduling.speculation.drafting import DraftingSnapshot


@dataclass(frozen=True, slots=True)
class CoreSnapshot:
    """Everything a core knows, but for what its models of latency and offloading learned.

    `token_limit` are the tokens an iteration may compute, and the iterations since it last changed.
    """

    limits: EngineLimits
    slots: SlotsSnapshot
    memory: MemorySnapshot
    adapters: AdaptersSnapshot
    saved: SavedSnapshot
    in_flight: tuple[InFlight, ...]
    iteration: int
    draining: bool
    token_limit: tuple[int, int]
    drafting: DraftingSnapshot | None = None


def take_snapshot(core: SchedulerCore) -> CoreSnapshot:
    """Return the state of `core`, independent of what happens to it later."""
    return CoreSnapshot(
        core.limits,
        core.slots.snapshot(),
        core.memory.snapshot(),
        core.adapters.snapshot(),
        core.saved.snapshot(),
        tuple(core.in_flight),
        core.iteration,
        core.headroom.closed,
        (core.token_limit.tokens, core.token_limit.calm_iterations),
        core.drafting.snapshot() if core.drafting is not None else None,
    )


def rebuild(snapshot: CoreSnapshot, latency: LatencyModel, offload: OffloadModel | None = None) -> SchedulerCore:
    """Return a core in the state of `snapshot`; it plans as the original does when its models know the same."""
    core = SchedulerCore(snapshot.limits, latency, offload=offload)
    core.slots.restore(snapshot.slots)
    core.memory.restore(snapshot.memory)
    core.adapters.restore(snapshot.adapters)
    core.saved.restore(snapshot.saved)
    core.in_flight = deque(snapshot.in_flight)
    core.iteration, core.headroom.closed = snapshot.iteration, snapshot.draining
    core.token_limit.tokens, core.token_limit.calm_iterations = snapshot.token_limit
    if core.drafting is not None and snapshot.drafting is not None:
        core.drafting.restore(snapshot.drafting)
    return core
