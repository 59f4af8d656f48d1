"""One gateway: policy and the fleets that it serves brought together, and the clockwork that keeps them up to date."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from tierline.api.policy import ModelPolicy, TierPolicy
from tierline.scheduling.entering import lower_tier
from tierline_gateway.front.api_errors import ApiError, unavailable
from tierline_gateway.policy_source import PolicySnapshot, PolicySource
from tierline_gateway.served.fleet import ServedFleet
from tierline_gateway.served.fleets import FleetSource, ServedFleets
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.store import SharedStore
from tierline_gateway.streams.ledger import Ledger
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.streams.request_log import RequestLog
from tierline_gateway.streams.trace_log import TraceLog
from tierline_gateway.workers.discovery import WorkerDiscovery
from tierline_gateway.workers.pool import LinkPool

log = logging.getLogger(__name__)

TICK_S = 0.05
STALLED_MS = 10_000.0
_EPOCH_MS = (time.time() - time.monotonic()) * 1000


def monotonic_ms() -> float:
    """Return milliseconds since the epoch as it was known at the start; unlike the wall clock it is never set back."""
    return _EPOCH_MS + time.monotonic() * 1000


class GatewayService:
    """Everything that the HTTP endpoints need.

    A tenant's quota is one over all fleets (`ledger`). `gateway_id` is this gateway's name for workers; `source` tells
    of the fleets that join the gateway of `fleet`, and without one every model is that fleet's.
    """

    def __init__(
        self,
        policy_source: PolicySource,
        discovery: WorkerDiscovery,
        gateway_id: str,
        *,
        fleet: str = "",
        source: FleetSource | None = None,
        clock_ms: Callable[[], float] = monotonic_ms,
    ) -> None:
        self.policy_source = policy_source
        self.clock_ms = clock_ms
        self.ledger = Ledger()
        self.requests = RequestLog()
        self.trace = TraceLog()
        self.draining = False
        self.refusing = False
        self._gateway_id = gateway_id
        self._share: Callable[[ServedFleet], None] = lambda _fleet: None
        self._started = self._warm = False
        self.fleets = ServedFleets(self._made(fleet, discovery), self._joined, source)
        self._tick_task: asyncio.Task[None] | None = None
        self._ticked_ms = 0.0

    @property
    def own(self) -> ServedFleet:
        """The fleet whose gateway this is."""
        return self.fleets.own

    def share(self, store_of: Callable[[str], SharedStore], gateway_id: str) -> None:
        """Share fairness and quotas with the gateways that reach the same stores; to be called before `start`.

        `store_of` a fleet keeps its counters; quotas are shared through that of the own fleet alone. `gateway_id` is
        this process's: what is known under it is not taken over by a later one.
        """

        def share(fleet: ServedFleet) -> None:
            demand = self.ledger.demand if fleet is self.own else QuotaDemand()
            fleet.share(store_of(fleet.name), gateway_id, demand)

        self._share = share
        share(self.own)

    def start(self) -> None:
        """Begin to follow workers and to share; needs a running event loop."""
        self._started = True
        self.tick()
        self._tick_task = asyncio.create_task(self._tick_for_ever(), name="gateway-tick")
        self.own.start_sharing()

    async def stop(self) -> None:
        """Drop workers and timers; requests that still run end with an error for their clients."""
        if self._tick_task is not None:
            self._tick_task.cancel()
            await asyncio.gather(self._tick_task, return_exceptions=True)
        await self.fleets.close()

    async def drained(self, deadline_s: float) -> bool:
        """Refuse new requests and wait until the present ones are done; false when the deadline passed first."""
        self.refusing = True
        give_up_ms = self.clock_ms() + deadline_s * 1000
        while any(not fleet.idle for fleet in self.fleets):
            if self.clock_ms() >= give_up_ms:
                return False
            for fleet in self.fleets:
                if self._is_gone(fleet):
                    gone = unavailable("The fleet was deleted; no worker can go on.", "FleetDeleted")
                    fleet.dispatcher.abandon(gone)
            await asyncio.sleep(TICK_S)
        return True

    def abandon(self, error: ApiError) -> None:
        """End every request that is not done with `error`."""
        for fleet in self.fleets:
            fleet.dispatcher.abandon(error)

    def _is_gone(self, fleet: ServedFleet) -> bool:
        """Whether nothing will ever continue a stream: neither the fleet nor any of its workers is there."""
        snapshot = self.policy_source.current
        lost = snapshot is not None and not self.fleets.serves(snapshot.policy, fleet)
        return lost and not any(True for _ in fleet.links)

    def not_ready(self) -> str:
        """Return why the gateway cannot serve, empty when it can."""
        return "draining" if self.draining else self._missing()

    def _missing(self) -> str:
        """A new gateway waits until every fleet's tokenizer was tried; later on a fleet that cannot be served, or has
        just joined, is no reason to turn away the others' requests."""
        if self.policy_source.current is None:
            return "the resources are not compiled yet"
        if self._warm and self.own.tokenizer is not None:
            return ""
        served = tuple(self.fleets)
        some = any(fleet.tokenizer is not None for fleet in served)
        self._warm = some and (self._warm or all(fleet.tried for fleet in served))
        return "" if self._warm else "the tokenizer is not loaded yet"

    def remark(self) -> str:
        """Return what is not as it should be while the gateway serves, empty when nothing is."""
        silent = next((each.sharing.problem for each in self.fleets if each.sharing and each.sharing.problem), "")
        store = [f"the shared store does not answer: {silent}"] if silent else []
        unserved = [f"fleet {each.name} is not served: {each.problem}" for each in self.fleets if each.problem]
        return "; ".join(store + unserved)

    def snapshot(self) -> PolicySnapshot:
        """Return the policy to serve a request by; raises `ApiError` 503 before there is one."""
        snapshot = self.policy_source.current
        problem = "it shuts down" if self.refusing else self._missing()
        if problem or snapshot is None:
            raise unavailable(f"The gateway does not serve now: {problem}; try again.", "NotReady", 1)
        return snapshot

    def fleets_by_model(self) -> dict[str, ServedFleet]:
        """Return the fleets by the model that each serves, one without any by its own name."""
        snapshot = self.policy_source.current
        models = snapshot.policy.models.values() if snapshot is not None else ()
        names = {self.fleets.of(model).name: model.served_name for model in models}
        return {names.get(fleet.name, fleet.name): fleet for fleet in self.fleets}

    def adapters(self, model: ModelPolicy) -> frozenset[str] | None:
        """Return the adapters that the model's connected workers serve, None while none is connected."""
        return self.fleets.of(model).links.adapters

    def fleet_of(self, live: LiveRequest) -> ServedFleet:
        """Return the fleet that a request is for; raises `ApiError` 503 when that has left since."""
        fleet = self.fleets.find(live.fleet)
        if fleet is None:
            raise unavailable(f"Fleet {live.fleet} was taken away from this gateway.", "FleetDeleted")
        return fleet

    @property
    def live(self) -> Iterator[LiveRequest]:
        """Every request that has not been concluded."""
        return (live for fleet in self.fleets for live in fleet.dispatcher.live)

    @property
    def at_rest(self) -> bool:
        """Whether there is no request that has not been concluded."""
        return next(self.live, None) is None

    def find(self, request_id: str) -> LiveRequest | None:
        for fleet in self.fleets:
            live = fleet.dispatcher.find(request_id)
            if live is not None:
                return live
        return None

    def degraded(self, live: LiveRequest) -> TierPolicy | None:
        """Lower a request to the tier that takes what its own turns away, and return it; None when there is none."""
        snapshot = self.policy_source.current
        lower = lower_tier(live.tier, snapshot.policy.tiers) if snapshot else None
        if lower is not None:
            live.tier = lower
        return lower

    def delivered(self, live: LiveRequest, tokens: int) -> None:
        self.ledger.delivered(live, tokens, self.clock_ms())

    def conclude(self, live: LiveRequest, fleet: ServedFleet) -> None:
        """Let go of a request, cancelling what still runs, and write down what became of it."""
        fleet.dispatcher.conclude(live)
        outcome = str(live.life.finish_reason)
        fleet.instruments.ended(live, outcome)
        self.requests.add(live, outcome)
        fleet.dispatcher.explained.add(live.request_id, live.decisions)
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
        """Follow the policy and every fleet; one that fails does not keep the others from theirs."""
        snapshot = self.policy_source.current
        if snapshot is not None:
            self.fleets.follow(snapshot.policy)
        ticked = [self._ticked(fleet) for fleet in self.fleets]
        if any(ticked):
            self._ticked_ms = self.clock_ms()

    def _ticked(self, fleet: ServedFleet) -> bool:
        try:
            fleet.tick()
        except Exception:
            log.exception("a tick of fleet %s failed; the next one follows in %g s", fleet.name, TICK_S)
            return False
        return True

    def _made(self, name: str, discovery: WorkerDiscovery) -> ServedFleet:
        return ServedFleet(name, LinkPool(discovery, self._gateway_id), self.ledger, self.clock_ms)

    def _joined(self, name: str, discovery: WorkerDiscovery) -> ServedFleet:
        fleet = self._made(name, discovery)
        self._share(fleet)
        if self._started:
            fleet.start_sharing()
        return fleet
