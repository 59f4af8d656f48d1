"""What each tenant has been given so far, in weighted tokens, by this gateway and by the others.

Counters follow the Virtual Token Counter (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024). A
tenant of which nothing waited is lifted when a request of it comes:

    c_t = max(c_t, lowest counter of the tenants that wait)        c_t = max(c_t, c_last)   when nobody waits

with `last` the tenant that was the last to leave the queue, so that idling earns no credit. An answer is charged when
it starts, by its expected length, and corrected while it grows and when it ends (the paper's VTC with predictions): a
tenant whose answers have only begun does not look as if it had been given nothing. Only differences mean anything.

**Several gateways** share counters by an exchange that their edge drives, say ten times a second:

    report = counters.begin_exchange()            what changed here since the last exchange, and who waits here
    peers = <merge the report where all gateways do; read back each tenant's merged counter and who waits elsewhere>
    counters.adopt(peers)                         or counters.abandon_exchange() when the merge failed

A report holds a `Change` per tenant, merged by `change.on(counter)`; `service_exchange.SharedService` is that merge in
memory, to be imitated by a store that all gateways reach. Between exchanges a gateway misses what the others gave in
that time, which widens the bound on the difference between tenants by that much and no more; lifts are floors, not
sums, so two gateways that lift one tenant do not lift it twice. `adopt` replaces who waits elsewhere: call it with
nothing when nothing has been heard of the others for long, since who is gone must hold nobody back.

**Several fleets** behind one gateway have counters of their own, since lifting is each one's own matter: an idle hour
at one model earns nothing there, whatever the tenant got elsewhere. But what a tenant is given at one counts at all
that it has asked (`stand_beside`), so nobody has a share of each. A token counts the same on every model.

Bounds: at most twice `REMEMBERED` tenants, or twice as many as wait, run, or have not been reported. Nobody gains by
being forgotten: the lowest counters go first, and the highest forgotten one is what unknown tenants start with. While
idle tenants fit, those are below the lowest waiting counter, to which a newcomer is lifted anyway. When they do not, as
with a flood of short-lived ids, a new id starts where the forgotten ones stopped.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

REMEMBERED: Final = 4096
UNMOVED_EXCHANGES: Final = 10


class Change(msgspec.Struct, frozen=True):
    """What happened to a counter: c becomes max(c + added, floor). Counters are never negative, so floor 0 is none."""

    added: float = 0.0
    floor: float = 0.0

    def on(self, counter: float) -> float:
        """Return the counter after this change."""
        return max(counter + self.added, self.floor)

    def then(self, later: "Change") -> "Change":
        """Return this change and `later` as one."""
        return Change(self.added + later.added, max(self.floor + later.added, later.floor))


UNCHANGED: Final = Change()


@dataclass(frozen=True, slots=True)
class TenantReport:
    """What a gateway tells the others of a tenant: its counter's change, and the priorities in which it waits there."""

    change: Change
    waiting: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PeerService:
    """What a gateway learns of a tenant: the merged counter, and the priorities in which it waits at other gateways."""

    counter: float
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CountersSnapshot:
    """Everything that must outlive a restart; `unknown` is what a tenant that is not named starts with."""

    counters: Mapping[str, float]
    unknown: float = 0.0


class _Prepaid(msgspec.Struct):
    """What a request paid when it started, and what of its answer's part is not used up."""

    tenant: str
    service: float
    unused: float


class ServiceCounters:
    """Counters of all tenants; pure state.

    A counter is its `fresh` change on the `sent` one on the `shared` value; it is kept besides, as it is read of every
    tenant at every dispatch.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._forget_at = 2 * remembered
        self._shared: dict[str, float] = {}
        self._sent: dict[str, Change] = {}
        self._fresh: dict[str, Change] = {}
        self._counters: dict[str, float] = {}
        self._unknown = 0.0
        self._waiting: dict[str, Counter[int]] = {}
        self._elsewhere: dict[str, tuple[int, ...]] = {}
        self._unmoved: dict[str, int] = {}
        self._prepaid: dict[str, _Prepaid] = {}
        self._running: Counter[str] = Counter()
        self._last_left = ""
        self._shares = False
        self._beside: tuple[ServiceCounters, ...] = ()

    def __len__(self) -> int:
        return len(self._shared)

    @property
    def waits_elsewhere(self) -> bool:
        """Whether some tenant is known to wait at another gateway."""
        return bool(self._elsewhere)

    def of(self, tenant: str) -> float:
        """Return the tenant's counter."""
        return self._counters.get(tenant, self._unknown)

    def arrived(self, tenant: str, priority: int) -> None:
        """Note that one more request of the tenant waits; the first one anywhere lifts its counter."""
        level = self.level(tenant)
        if level > self.of(tenant):
            self._change(tenant, Change(0.0, level))
        self._waiting.setdefault(tenant, Counter())[priority] += 1

    def left(self, tenant: str, priority: int) -> None:
        """Note that a request of the tenant waits no longer."""
        waiting = self._waiting[tenant]
        waiting[priority] -= 1
        if not waiting[priority]:
            del waiting[priority]
        if not waiting:
            del self._waiting[tenant]
            self._last_left = tenant

    def level(self, tenant: str) -> float:
        """Return the counter that the tenant waits with: its own, lifted when nothing of it waits anywhere yet."""
        if tenant in self._waiting or tenant in self._elsewhere:
            return self.of(tenant)
        waiting = self._waiting.keys() | self._elsewhere.keys()
        return max(self.of(tenant), min(map(self.of, waiting or (self._last_left,))))

    def lowest(self, tenants: Iterable[str], priority: int) -> float:
        """Return the lowest counter of these tenants, which wait here in one priority, and those that do elsewhere."""
        elsewhere = (tenant for tenant, waiting in self._elsewhere.items() if priority in waiting)
        return min(map(self.of, (*tenants, *elsewhere)))

    def lowest_served_elsewhere(self, priority: int) -> float:
        """Return the lowest counter of those that wait elsewhere in this priority and are being served; inf if none.

        Who is not served there for `UNMOVED_EXCHANGES` cannot use the capacity that others would leave to it.
        """
        served = (
            self.of(tenant)
            for tenant, waiting in self._elsewhere.items()
            if priority in waiting and self._unmoved.get(tenant, 0) < UNMOVED_EXCHANGES
        )
        return min(served, default=math.inf)

    def charge(self, tenant: str, service: float) -> None:
        """Raise the tenant's counter; a negative `service` gives back."""
        self._change(tenant, Change(service, service))
        for other in self._beside:
            other._charged_beside(tenant, service)

    def stand_beside(self, others: Iterable["ServiceCounters"]) -> None:
        """Charge from now on what is charged here to these, too; it is theirs to do the same."""
        self._beside = tuple(others)

    def prepay(self, request_id: str, tenant: str, service: float, advance: float) -> None:
        """Charge a request that starts; `advance` is the part of `service` that its answer will use up."""
        self._close(request_id)
        self.charge(tenant, service)
        self._prepaid[request_id] = _Prepaid(tenant, service, advance)
        self._running[tenant] += 1

    def refund(self, request_id: str) -> None:
        """Undo `prepay` to the token, for a request that did not start."""
        paid = self._close(request_id)
        if paid is not None:
            self.charge(paid.tenant, -paid.service)

    def charge_output(self, request_id: str, tenant: str, service: float) -> None:
        """Charge a piece of an answer as far as it was not paid for in advance."""
        paid = self._prepaid.get(request_id)
        if paid is not None and paid.unused >= service:
            # Nearly every token of nearly every answer is one that was expected.
            paid.unused -= service
            return
        covered = paid.unused if paid is not None else 0.0
        if paid is not None:
            paid.unused = 0.0
        if service > covered:
            self.charge(tenant, service - covered)

    def settle(self, request_id: str) -> None:
        """Give back what a request that ended paid in advance and did not use."""
        paid = self._close(request_id)
        if paid is not None and paid.unused:
            self.charge(paid.tenant, -paid.unused)

    def waiting_here(self) -> dict[str, tuple[int, ...]]:
        """Return who waits at this gateway, and in which priorities."""
        return {tenant: tuple(priorities) for tenant, priorities in self._waiting.items()}

    def begin_exchange(self) -> dict[str, TenantReport]:
        """Return what the other gateways must know; `adopt` or `abandon_exchange` ends the exchange."""
        self.abandon_exchange()
        self._shares = True
        self._sent, self._fresh = self._fresh, {}
        return {
            tenant: TenantReport(self._sent.get(tenant, UNCHANGED), tuple(self._waiting.get(tenant, ())))
            for tenant in self._sent.keys() | self._waiting.keys()
        }

    def adopt(self, peers: Mapping[str, PeerService]) -> None:
        """End an exchange with what it merged: each tenant of the report, and each that waits elsewhere.

        Who is not named waits nowhere else and keeps the counter known here.
        """
        for tenant, change in self._sent.items():
            self._shared[tenant] = change.on(self._shared[tenant])
        self._sent = {}
        self._elsewhere = {tenant: peer.waiting for tenant, peer in peers.items() if peer.waiting}
        self._unmoved = {tenant: self._exchanges_unmoved(tenant, peers[tenant].counter) for tenant in self._elsewhere}
        for tenant, peer in peers.items():
            self._know(tenant)
            self._shared[tenant] = peer.counter
            self._counters[tenant] = self._fresh.get(tenant, UNCHANGED).on(peer.counter)

    def abandon_exchange(self) -> None:
        """Keep what could not be reported for the next exchange."""
        for tenant, change in self._sent.items():
            self._fresh[tenant] = change.then(self._fresh.get(tenant, UNCHANGED))
        self._sent = {}

    def snapshot(self) -> CountersSnapshot:
        """Return what a restarted gateway goes on with."""
        return CountersSnapshot({tenant: self.of(tenant) for tenant in self._shared}, self._unknown)

    def restore(self, snapshot: CountersSnapshot) -> None:
        """Go on from a snapshot; nobody's counter falls below it, whatever was counted since."""
        for tenant, counter in snapshot.counters.items():
            self._change(tenant, Change(0.0, counter))
        self._unknown = max(self._unknown, snapshot.unknown)

    def _charged_beside(self, tenant: str, service: float) -> None:
        """Count what a tenant that has asked here got elsewhere; others are lifted when they come."""
        if tenant in self._shared or tenant in self._waiting:
            self._change(tenant, Change(service))

    def _exchanges_unmoved(self, tenant: str, counter: float) -> int:
        return 0 if counter > self._shared.get(tenant, -1.0) else self._unmoved.get(tenant, 0) + 1

    def _change(self, tenant: str, change: Change) -> None:
        self._know(tenant)
        self._fresh[tenant] = self._fresh.get(tenant, UNCHANGED).then(change)
        self._counters[tenant] = change.on(self._counters[tenant])

    def _close(self, request_id: str) -> _Prepaid | None:
        paid = self._prepaid.pop(request_id, None)
        if paid is not None:
            self._running[paid.tenant] -= 1
            if not self._running[paid.tenant]:
                del self._running[paid.tenant]
        return paid

    def _know(self, tenant: str) -> None:
        if tenant in self._shared:
            return
        if len(self._shared) >= self._forget_at:
            self._forget()
        self._shared[tenant] = 0.0
        self._counters[tenant] = self._unknown
        if self._unknown:
            self._fresh[tenant] = Change(0.0, self._unknown)

    def _forget(self) -> None:
        """Forget down to as many as are remembered, so that it happens seldom; the lowest counters go first."""
        idle = [tenant for tenant in self._shared if not self._in_use(tenant)]
        for tenant in sorted(idle, key=self.of)[: len(self._shared) - self._remembered]:
            self._unknown = max(self._unknown, self.of(tenant))
            del self._shared[tenant], self._counters[tenant]
            self._fresh.pop(tenant, None)
        self._forget_at = 2 * max(len(self._shared), self._remembered)

    def _in_use(self, tenant: str) -> bool:
        busy = tenant in self._waiting or tenant in self._running or tenant in self._elsewhere
        unreported = tenant in self._sent or (self._shares and tenant in self._fresh)
        return busy or unreported or tenant == self._last_left
