"""How much of what a tenant's tokens cost falls into any one day, here and at the fleet's other gateways.

    taken(now) = costs booked in the last `HOURS` whole hours and the one that runs, here and elsewhere
               + set aside here and elsewhere + (gateways - 1) * what was taken here since the others last learned of it

The last term is there only while the others are not heard of: each gateway then expects of the others what it does
itself, so what was left of the budget is split evenly. Money is counted in millionths of a cent, in which a price per
million tokens is a whole number for each token, so sums are exact. The day is a window that moves: whoever waits for
midnight cannot spend two budgets within an hour of it.

Inputs: costs by `api.token_prices`, a clock that counts from the epoch where several gateways share. Bounds: some
`HOURS` numbers a tenant here and as many for all other gateways; between two exchanges each gateway may set aside
what was left. When not to use it: as a bill. It says what may still be spent; what was billed are the counters of
delivered tokens.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

HOUR_MS: Final = 3_600_000.0
HOURS: Final = 24
MICROCENTS: Final = 1_000_000


class DayOfSpending:
    """Costs of the last day, in millionths of a cent, by hour, and what is set aside for requests that run."""

    def __init__(self) -> None:
        self.set_aside = 0
        self._here: dict[int, int] = {}
        self._known: dict[int, int] = {}
        self._set_aside_known = 0
        self._elsewhere: Mapping[int, int] = {}
        self._set_aside_elsewhere = 0
        self._unheard = 0

    def news(self) -> dict[int, int]:
        """Return what was booked here and the others do not know yet: totals by hour since the epoch."""
        return {hour: total for hour, total in self._here.items() if self._known.get(hour) != total}

    def told(self, hours: Mapping[int, int], set_aside: int) -> None:
        """Note that the others know of these totals, and of what is set aside."""
        self._known |= hours
        self._set_aside_known = set_aside

    def lost(self) -> None:
        """Note that what was told has to be told again."""
        self._known.clear()

    def hear(self, elsewhere: Mapping[int, int], set_aside: int) -> None:
        """Take over what all others booked, by hour, and have set aside."""
        self._elsewhere, self._set_aside_elsewhere, self._unheard = elsewhere, set_aside, 0

    def miss(self, others: int) -> None:
        """So many other gateways are not heard of any more."""
        self._unheard = others

    def spend(self, microcents: int, now_ms: float) -> None:
        self._forget(now_ms)
        hour = int(now_ms // HOUR_MS)
        self._here[hour] = self._here.get(hour, 0) + microcents

    def taken(self, now_ms: float) -> int:
        """Return what counts against a budget, what is set aside included."""
        self._forget(now_ms)
        spent = sum(self._by_hour(now_ms).values())
        return spent + self.set_aside + self._set_aside_elsewhere + self._unheard * self._untold()

    @property
    def weight(self) -> int:
        """How often what is set aside next counts: once, and for each gateway that is not heard of."""
        return 1 + self._unheard

    def wait_ms(self, microcents: int, now_ms: float) -> float:
        """Return how long until `microcents` of what was spent are out of the day; all that is if it is less."""
        self._forget(now_ms)
        left, at_ms = microcents, now_ms
        for hour, cost in sorted(self._by_hour(now_ms).items()):
            if left <= 0:
                break
            left -= cost
            at_ms = (hour + HOURS + 1) * HOUR_MS
        return max(at_ms - now_ms, 0.0)

    def _by_hour(self, now_ms: float) -> Counter[int]:
        elsewhere = {hour: cost for hour, cost in self._elsewhere.items() if not is_past(hour, now_ms)}
        return Counter(self._here) + Counter(elsewhere)

    def _untold(self) -> int:
        booked = sum(cost - self._known.get(hour, 0) for hour, cost in self._here.items())
        return max(booked + self.set_aside - self._set_aside_known, 0)

    def _forget(self, now_ms: float) -> None:
        for hour in [hour for hour in self._here if is_past(hour, now_ms)]:
            del self._here[hour]
            self._known.pop(hour, None)


def is_past(hour: int, now_ms: float) -> bool:
    """Whether what was spent in an hour is out of the day."""
    return (hour + HOURS + 1) * HOUR_MS <= now_ms
