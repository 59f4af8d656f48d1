"""The engine's load after its newest turn, for other threads: made by the engine's thread, replaced as a whole."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.adapters import adapter_name
from tierline.scheduling.plans import EngineLimits
from tierline.scheduling.slots import Phase
from tierline.wire.frames import Signals
from tierline_worker.adapters.catalog import AdapterCatalog
from tierline_worker.engine.messages import AdapterStanding


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is true between two iterations.

    `fragmented_tokens` are places in requests' blocks that hold no token yet; `adapter_blocks` hold adapters,
    `cached_blocks` what no request refers to and may be taken over;
    `token_limit` is what an iteration may compute, `speculating` whether drafts pay at present. `running_adapters` and
    `waiting_adapters` are those of requests that run, and of those that wait or are parked. `limits` is None before
    there is an engine.
    """

    signals: Signals = field(default_factory=Signals)
    counters: EngineCounters = field(default_factory=EngineCounters)
    limits: EngineLimits | None = None
    fragmented_tokens: int = 0
    adapter_blocks: int = 0
    cached_blocks: int = 0
    parked_requests: int = 0
    loading_requests: int = 0
    token_limit: int = 0
    speculating: bool = False
    running_adapters: tuple[str, ...] = ()
    waiting_adapters: tuple[str, ...] = ()

    @property
    def kv_tokens(self) -> int:
        """Tokens whose KV is held for requests."""
        block_tokens = self.limits.block_tokens if self.limits is not None else 0
        return (self.signals.used_blocks - self.adapter_blocks) * block_tokens - self.fragmented_tokens


def take_load(core: SchedulerCore) -> Snapshot:
    """Return the load of `core` as values that later iterations do not change."""
    slots, memory = core.slots, core.memory
    occupied = memory.owned > 0
    places = int(memory.owned.sum()) * core.limits.block_tokens
    running, waiting = _adapters(core) if core.limits.max_adapters else ((), ())
    return Snapshot(
        signals=core.signals(),
        counters=dataclasses.replace(core.counters),
        limits=core.limits,
        fragmented_tokens=places - int(slots.computed[occupied].sum()),
        adapter_blocks=memory.pages,
        cached_blocks=memory.cache.idle,
        parked_requests=int(np.count_nonzero(slots.phase == Phase.PARKED)),
        loading_requests=int(np.count_nonzero(slots.phase == Phase.LOADING)),
        token_limit=core.token_limit.tokens,
        speculating=core.drafting is not None and core.drafting.switch.on,
        running_adapters=running,
        waiting_adapters=waiting,
    )


def adapter_standings(catalog: AdapterCatalog, core: SchedulerCore) -> tuple[AdapterStanding, ...]:
    """Return every adapter that is served, where it lies and whether it is used."""
    used = {name for names in _adapters(core) for name in names}
    return tuple(AdapterStanding(it.name, it.resident, it.name in used) for it in catalog.states(core))


def _adapters(core: SchedulerCore) -> tuple[tuple[str, ...], tuple[str, ...]]:
    running, waiting = set[str](), set[str]()
    for slot in core.slots.slot_of.values():
        adapter = core.slots.request(slot).adapter
        if adapter:
            (running if core.slots.phase[slot] == Phase.RUNNING else waiting).add(adapter_name(adapter))
    return tuple(sorted(running)), tuple(sorted(waiting))
