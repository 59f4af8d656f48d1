"""One gateway: policy, workers and tokenizer brought together, and the clockwork that keeps them up to date."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tierline.api.policy import ModelPolicy, TierPolicy
from tierline.scheduling.entering import lower_tier
from tierline.text.tokenizer import Tokenizer
from tierline.text.tools.formats import FORMATS
from tierline_gateway.front.api_errors import unavailable
from tierline_gateway.front.prompts import PromptReader
from tierline_gateway.instruments import Instruments
from tierline_gateway.policy_source import PolicySnapshot, PolicySource
from tierline_gateway.shared.sharing import StateSharing
from tierline_gateway.shared.store import SharedStore
from tierline_gateway.streams.dispatcher import Dispatcher
from tierline_gateway.streams.evacuation import evacuate_due
from tierline_gateway.streams.ledger import Ledger
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.streams.request_log import RequestLog
from tierline_gateway.streams.trace_log import TraceLog
from tierline_gateway.workers.discovery import WorkerDiscovery
from tierline_gateway.workers.pool import LinkPool

log = logging.getLogger(__name__)

TICK_S = 0.05
STALLED_MS = 10_000.0
UNKNOWN_WINDOW_TOKENS = 2048


def monotonic_ms() -> float:
    return time.monotonic() * 1000


@dataclass
class GatewayService:
    """Everything that the HTTP endpoints need. `tokenizer` is None until it is loaded."""

    policy_source: PolicySource
    links: LinkPool
    tokenizer: Tokenizer | None = None
    clock_ms: Callable[[], float] = monotonic_ms
    ledger: Ledger = field(default_factory=Ledger)
    instruments: Instruments = field(default_factory=Instruments)
    requests: RequestLog = field(default_factory=RequestLog)
    trace: TraceLog = field(default_factory=TraceLog)
    draining: bool = False
    refusing: bool = False
    sharing: StateSharing | None = None
    dispatcher: Dispatcher = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ticked_ms: float = 0.0

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.links, self.ledger, self.instruments, self.clock_ms)

    @classmethod
    def over(cls, policy_source: PolicySource, discovery: WorkerDiscovery, gateway_id: str) -> "GatewayService":
        """Return a service over any source of policy and workers."""
        return cls(policy_source, LinkPool(discovery, gateway_id))

    def share(self, store: SharedStore, gateway_id: str) -> None:
        """Share fairness and quotas with the gateways that reach the same store; to be called before `start`.

        `gateway_id` is this process's alone: what is known under it is not taken over by a later one.
        """
        self.dispatcher.queue.credit_is_handed_back = True
        counters = self.dispatcher.queue.counters
        self.sharing = StateSharing(store, gateway_id, counters, self.ledger.demand, self.clock_ms)

    def start(self) -> None:
        """Begin to follow workers and to share; needs a running event loop."""
        self.tick()
        self._tasks.append(asyncio.create_task(self._tick_for_ever(), name="gateway-tick"))
        if self.sharing is not None:
            self._tasks.append(asyncio.create_task(self.sharing.run(), name="gateway-sharing"))

    async def stop(self) -> None:
        """Drop workers and timers; requests that still run end with an error for their clients."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.links.close()

    async def drained(self, deadline_s: float) -> bool:
        """Refuse new requests and wait until the present ones are done; false when the deadline passed first."""
        self.refusing = True
        give_up_ms = self.clock_ms() + deadline_s * 1000
        while any(True for _ in self.dispatcher.live):
            if self.clock_ms() >= give_up_ms:
                return False
            if self._fleet_is_gone():
                self.dispatcher.abandon(unavailable("The fleet was deleted; no worker can go on.", "FleetDeleted"))
            await asyncio.sleep(TICK_S)
        return True

    def _fleet_is_gone(self) -> bool:
        """Whether nothing will ever continue a stream: neither the fleet nor any of its workers is there."""
        snapshot = self.policy_source.current
        return snapshot is not None and not snapshot.policy.models and not any(True for _ in self.links)

    def not_ready(self) -> str:
        """Return why the gateway cannot serve, empty when it can."""
        return "draining" if self.draining else self._missing()

    def _missing(self) -> str:
        if self.policy_source.current is None:
            return "the resources are not compiled yet"
        return "" if self.tokenizer is not None else "the tokenizer is not loaded yet"

    def remark(self) -> str:
        """Return what is not as it should be while the gateway serves, empty when nothing is."""
        problem = self.sharing.problem if self.sharing is not None else ""
        return f"the shared store does not answer: {problem}" if problem else ""

    def snapshot(self) -> PolicySnapshot:
        """Return the policy to serve a request by; raises `ApiError` 503 before there is one."""
        snapshot = self.policy_source.current
        problem = "it shuts down" if self.refusing else self._missing()
        if problem or snapshot is None:
            raise unavailable(f"The gateway does not serve now: {problem}; try again.", "NotReady", 1)
        return snapshot

    def prompt_reader(self, model: ModelPolicy | None = None) -> PromptReader:
        """Return the reader for the served model, with the window that its workers really have."""
        assert self.tokenizer is not None, "asked before ready"
        window = self.links.window_tokens or self.tokenizer.context_tokens or UNKNOWN_WINDOW_TOKENS
        return PromptReader(self.tokenizer, window, FORMATS.get(model.tool_call_format) if model else None)

    def degraded(self, live: LiveRequest) -> TierPolicy | None:
        """Lower a request to the tier that takes what its own turns away, and return it; None when there is none."""
        snapshot = self.policy_source.current
        lower = lower_tier(live.tier, snapshot.policy.tiers) if snapshot else None
        if lower is not None:
            live.tier = lower
        return lower

    def delivered(self, live: LiveRequest, tokens: int) -> None:
        self.ledger.delivered(live, tokens, self.clock_ms())

    def conclude(self, live: LiveRequest) -> None:
        """Let go of a request, cancelling what still runs, and write down what became of it."""
        self.dispatcher.conclude(live)
        outcome = str(live.life.finish_reason)
        self.instruments.ended(live, outcome)
        self.requests.add(live, outcome)
        self.dispatcher.explained.add(live.request_id, live.decisions)
        self.trace.add(live, outcome, self.clock_ms())

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
            except Exception:
                log.exception("a tick failed; the next one follows in %g s", TICK_S)

    @property
    def stalled(self) -> bool:
        """Whether no tick came to its end for so long that only a restart helps."""
        return self.clock_ms() - self._ticked_ms > STALLED_MS

    def tick(self) -> None:
        """Follow discovery, move streams off leaving workers, refuse who waited too long."""
        self.links.sync(self.dispatcher)
        evacuate_due(self.dispatcher, time.time() * 1000, asyncio.get_running_loop().time())
        self.dispatcher.expire()
        self.dispatcher.pump()
        self.links.hold(self.dispatcher.queue.held_back, repeat=True)
        self._ticked_ms = self.clock_ms()
