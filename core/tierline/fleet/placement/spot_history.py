"""What happened to spot capacity: interruption rates by market, and which markets to try next.

    rate(m) = (interruptions(m) + prior_rate * prior_hours) / (node_hours(m) + prior_hours)

Both counts halve every `HALF_LIFE_MS`, so a market is forgiven in days. Beside the rates stand SpotHedge's lists (Mao
et al., "SkyServe", EuroSys 2025): a market that was reclaimed or gave nothing moves from Active to Preempted, one that
gave a worker moves back, and when fewer than two of the markets for one accelerator are Active, all of them are again.
Beyond the paper, a market where a launch came to nothing is shunned for a time that doubles with each failure in a row:
where a dead zone is Active again only because all others were blamed, it is not the first to be asked.

Inputs: nodes seen by market, losses, launches that failed or worked. Bounds: rates stay between 0 and one per
`SHORTEST_LIFE_HOURS`; at most `MAX_MARKETS` are remembered, those without nodes go first. When not to use it: for
on-demand capacity, which is not reclaimed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierline.fleet.placement.market import Market

HALF_LIFE_MS = 24 * 3_600_000
PRIOR_PER_HOUR = 0.1
PRIOR_HOURS = 10.0
SHORTEST_LIFE_HOURS = 0.05
MAX_MARKETS = 256
LEAST_ACTIVE = 2
FIRST_PATIENCE_MS = 120_000
"""How long a worker may wait for a node before the launch counts as failed: what an autoscaler takes to bring one."""

MOST_DOUBLINGS = 2


@dataclass(frozen=True, slots=True)
class MarketRecord:
    """Decayed counts of one market, as of `at_ms`; `failures` are launches in a row that came to nothing, because of
    which it is shunned until `shunned_until_ms`."""

    interruptions: float = 0.0
    node_hours: float = 0.0
    at_ms: int = 0
    failures: int = 0
    shunned_until_ms: int = 0

    def advanced(self, now_ms: int, nodes: int, losses: int) -> "MarketRecord":
        """Return the record after `nodes` were there since it was made, of which `losses` were reclaimed."""
        elapsed_ms = max(now_ms - self.at_ms, 0) if self.at_ms else 0
        kept = 0.5 ** (elapsed_ms / HALF_LIFE_MS)
        return replace(
            self,
            interruptions=self.interruptions * kept + losses,
            node_hours=self.node_hours * kept + nodes * elapsed_ms / 3_600_000,
            at_ms=max(now_ms, self.at_ms),
        )

    @property
    def interruptions_per_hour(self) -> float:
        """Return how often a node there is reclaimed, by what was seen and a prior."""
        seen = (self.interruptions + PRIOR_PER_HOUR * PRIOR_HOURS) / (self.node_hours + PRIOR_HOURS)
        return min(seen, 1 / SHORTEST_LIFE_HOURS)


@dataclass(frozen=True, slots=True)
class SpotHistory:
    """Everything learned of spot markets; each method returns what is known after an observation."""

    records: Mapping[Market, MarketRecord] = field(default_factory=dict)
    preempted: frozenset[Market] = frozenset()

    def record(self, market: Market) -> MarketRecord:
        return self.records.get(market, MarketRecord())

    def observed(self, now_ms: int, nodes: Mapping[Market, int], losses: Mapping[Market, int]) -> "SpotHistory":
        """Take in how many spot nodes each market has, and how many were reclaimed since the last look."""
        records = dict(self.records)
        for market in {*records, *nodes, *losses}:
            records[market] = self.record(market).advanced(now_ms, nodes.get(market, 0), losses.get(market, 0))
        newest = sorted(records, key=lambda market: (market not in nodes, -records[market].node_hours, market))
        return replace(self, records={market: records[market] for market in newest[:MAX_MARKETS]})

    def reclaimed(self, market: Market, known: Iterable[Market]) -> "SpotHistory":
        """Take in that a worker there lost its node; `known` are all spot markets."""
        return replace(self, preempted=_with(self.preempted, market, known))

    def failed(self, market: Market, known: Iterable[Market], now_ms: int) -> "SpotHistory":
        """Take in that a worker waited for capacity there in vain."""
        record = self.record(market)
        shunned = replace(record, failures=record.failures + 1, shunned_until_ms=now_ms + self.patience_ms(market))
        return SpotHistory({**self.records, market: shunned}, _with(self.preempted, market, known))

    def succeeded(self, market: Market) -> "SpotHistory":
        """Take in that a worker runs there."""
        record = self.record(market)
        if not record.failures and market not in self.preempted:
            return self
        records = {**self.records, market: replace(record, failures=0, shunned_until_ms=0)}
        return SpotHistory(records, self.preempted - {market})

    def active(self, markets: Iterable[Market], now_ms: int) -> frozenset[Market]:
        """Return the markets to ask first."""
        return frozenset(it for it in markets if it not in self.preempted and self.is_trusted(it, now_ms))

    def is_trusted(self, market: Market, now_ms: int) -> bool:
        """Say whether no launch there has come to nothing just now."""
        return self.record(market).shunned_until_ms <= now_ms

    def patience_ms(self, market: Market) -> int:
        """Return how long a worker may wait for capacity there where no better market is known."""
        doublings = min(self.record(market).failures, MOST_DOUBLINGS)
        return int(FIRST_PATIENCE_MS * 2**doublings)


def _with(preempted: frozenset[Market], market: Market, known: Iterable[Market]) -> frozenset[Market]:
    blamed = preempted | {market}
    rivals = {it for it in known if it.accelerator == market.accelerator}
    return blamed - rivals if len(rivals - blamed) < LEAST_ACTIVE else blamed
