"""Keeps a gateway in agreement with the others: an exchange each `PERIOD_S`, and what holds while there is none.

While the store answers, the queue orders by counters that all gateways fill, lets tenants that wait elsewhere have
their turn, and quotas are enforced by parts that sum to the whole. The difference between tenants that always wait is
bounded by the queue's own bound and what all gateways serve between two exchanges. After `DEGRADE_AFTER_S` without an
answer each gateway enforces limit / known gateways and holds nobody back for others; what it served meanwhile is
reported, once, when the store is there again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.admission.quota_shares import local_share, quota_share
from tierline.scheduling.queueing.service_counters import PeerService, ServiceCounters, TenantReport
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.shared.store import Exchange, Note, Shared, SharedStore, StoreUnavailable

log = logging.getLogger(__name__)

PERIOD_S: Final = 0.05
DEGRADE_AFTER_S: Final = 1.5


class StateSharing:
    """One gateway's side of the exchange. `gateway` is the process's own id, never used by another one or again."""

    def __init__(
        self,
        store: SharedStore,
        gateway: str,
        counters: ServiceCounters,
        demand: QuotaDemand,
        *,
        kv_shares: KVShares,
        clock_ms: Callable[[], float],
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._counters = counters
        self._demand = demand
        self._kv_shares = kv_shares
        self._clock_ms = clock_ms
        self._number = 0
        self._born = ""
        self._unanswered: dict[str, TenantReport] | None = None
        self._floors: Mapping[str, float] = {}
        self._answered_ms = clock_ms()
        self._known_gateways = 1
        self.problem = ""

    @property
    def gateways(self) -> int:
        """How many gateways there were when the store last answered, this one included."""
        return self._known_gateways

    async def run(self) -> None:
        """Exchange until cancelled."""
        try:
            while True:
                await self.exchange()
                await asyncio.sleep(PERIOD_S)
        finally:
            await self._store.close()

    async def exchange(self) -> None:
        """Tell and be told once; a report that was not answered is sent again as it was."""
        if self._unanswered is None:
            self._begin()
        report = self._unanswered or {}
        changes = tuple(
            (tenant, news.change.added, max(news.change.floor, self._floors.get(tenant, 0.0)))
            for tenant, news in report.items()
        )
        named = {tenant for tenant, _, _ in changes}
        floors = tuple((tenant, 0.0, floor) for tenant, floor in self._floors.items() if tenant not in named)
        spending, note = self._demand.spending, self._note()
        spent = spending.news(self._gateway)
        try:
            shared = await self._store.exchange(
                Exchange(
                    *(self._gateway, self._number, self._born, changes + floors, note),
                    spent=spent,
                    spent_version=spending.version,
                )
            )
        except StoreUnavailable as error:
            self._failed(str(error))
            return
        spending.answered(spent, note.set_aside, shared, self._clock_ms())
        self._answered(shared)

    def _begin(self) -> None:
        self._unanswered = self._counters.begin_exchange()
        self._number += 1

    def _note(self) -> Note:
        demand = self._demand
        return Note(
            waiting=self._counters.waiting_here(),
            asked=demand.asked(),
            running=demand.running(),
            set_aside=demand.spending.set_aside(),
            held_tokens=self._kv_shares.held(),
        )

    def _answered(self, shared: Shared) -> None:
        if self.problem:
            log.info("the shared store answers again; %d gateways share what their tenants get", 1 + len(shared.notes))
        self._answered_ms, self.problem, self._known_gateways = self._clock_ms(), "", 1 + len(shared.notes)
        anew = bool(self._born) and shared.born != self._born
        self._born, self._unanswered, self._floors = shared.born, None, {}
        if anew:
            log.warning(
                "the shared store has lost its memory; it is told the counters and spending that are known here"
            )
            self._counters.abandon_exchange()
            self._demand.spending.lost()
            self._begin()
            self._floors = self._counters.snapshot().counters
            return
        self._counters.adopt(_peers(shared))
        self._share_quotas(shared.notes)
        self._kv_shares.hear(_held_tokens(shared.notes.values()))

    def _share_quotas(self, notes: Mapping[str, Note]) -> None:
        asked = self._demand.asked()
        tenants = asked.keys() | {tenant for note in notes.values() for tenant in note.asked}
        self._demand.adopt(
            {
                tenant: quota_share(
                    asked.get(tenant, 0.0),
                    [note.asked.get(tenant, 0.0) for note in notes.values()],
                    sum(note.running.get(tenant, 0) for note in notes.values()),
                )
                for tenant in tenants
            },
            local_share(1 + len(notes)),
        )

    def _failed(self, problem: str) -> None:
        if self.problem or self._clock_ms() - self._answered_ms < DEGRADE_AFTER_S * 1000:
            return
        self.problem = problem
        log.error(
            "the shared store does not answer (%s): each of %d gateways enforces its own part of quotas, and fairness "
            "is kept among the tenants of each",
            problem,
            self._known_gateways,
        )
        self._counters.adopt({})
        self._demand.adopt({}, local_share(self._known_gateways))
        self._demand.spending.unanswered(self._known_gateways - 1)
        self._kv_shares.unheard(self._known_gateways)


def _held_tokens(notes: Iterable[Note]) -> Counter[str]:
    """Return the tokens of KV cache that tenants hold through the gateways that say so."""
    held: Counter[str] = Counter()
    for note in notes:
        held.update(note.held_tokens)
    return held


def _peers(shared: Shared) -> dict[str, PeerService]:
    waiting: dict[str, set[int]] = {}
    for note in shared.notes.values():
        for tenant, priorities in note.waiting.items():
            waiting.setdefault(tenant, set()).update(priorities)
    return {
        tenant: PeerService(counter, tuple(sorted(waiting.get(tenant, ()))))
        for tenant, counter in shared.counters.items()
    }
