"""What tenants spend at each gateway: totals by hour, told under the process's id and summed by whoever reads them.

A total is the same however often it is told. What a gateway that ended has spent stays until it is out of the day.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from tierline.scheduling.admission.spending import HOUR_MS, DayOfSpending, is_past
from tierline_gateway.shared.store import Note, Shared, Spent


class SharedSpending:
    """One gateway's side. `version` is the store's up to which it knows what the others spent."""

    def __init__(self) -> None:
        self.version = 0
        self._here: dict[str, DayOfSpending] = {}
        self._rows: dict[tuple[str, int, str], int] = {}
        self._elsewhere: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._set_aside: Counter[str] = Counter()
        self._unheard = 0
        self._cleaned_hour = 0

    def track(self, tenant: str, here: DayOfSpending) -> None:
        """Share what a tenant spends here from now on."""
        self._here[tenant] = here
        self._hear(tenant, here)
        here.miss(self._unheard)

    def news(self, gateway: str) -> tuple[Spent, ...]:
        """Return the totals that the store does not have, oldest first."""
        news = ((tenant, day.news()) for tenant, day in self._here.items())
        rows = (Spent(gateway, tenant, hour, total) for tenant, hours in news for hour, total in hours.items())
        return tuple(sorted(rows, key=lambda row: row.hour))

    def set_aside(self) -> dict[str, int]:
        """Return what is set aside here, by tenant."""
        return {tenant: day.set_aside for tenant, day in self._here.items() if day.set_aside}

    def answered(self, told: Iterable[Spent], set_aside: dict[str, int], shared: Shared, now_ms: float) -> None:
        """Note that the store has what was told, and what it answered."""
        self._learn(shared, now_ms)
        hours: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for row in told:
            hours[row.tenant][row.hour] = row.total
        self._unheard = 0
        for tenant, day in self._here.items():
            day.told(hours.get(tenant, {}), set_aside.get(tenant, 0))
            self._hear(tenant, day)

    def lost(self) -> None:
        """The store has lost its memory: everything is told again, and asked for again."""
        self.version = 0
        for day in self._here.values():
            day.lost()

    def unanswered(self, others: int) -> None:
        """So many other gateways are not heard of any more."""
        self._unheard = others
        for day in self._here.values():
            day.miss(others)

    def _hear(self, tenant: str, day: DayOfSpending) -> None:
        day.hear(self._elsewhere.get(tenant, {}), self._set_aside[tenant])

    def _learn(self, shared: Shared, now_ms: float) -> None:
        self.version = shared.version
        for row in shared.spent:
            key = (row.tenant, row.hour, row.gateway)
            self._elsewhere[row.tenant][row.hour] += row.total - self._rows.get(key, 0)
            self._rows[key] = row.total
        if (hour := int(now_ms // HOUR_MS)) != self._cleaned_hour:
            self._cleaned_hour = hour
            self._forget(now_ms)
        self._set_aside = _summed(shared.notes.values())

    def _forget(self, now_ms: float) -> None:
        for tenant, hour, gateway in [key for key in self._rows if is_past(key[1], now_ms)]:
            del self._rows[tenant, hour, gateway]
            self._elsewhere[tenant].pop(hour, None)
            if not self._elsewhere[tenant]:
                del self._elsewhere[tenant]


def _summed(notes: Iterable[Note]) -> Counter[str]:
    total: Counter[str] = Counter()
    for note in notes:
        total.update(note.set_aside)
    return total
