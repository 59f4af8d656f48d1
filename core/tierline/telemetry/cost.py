"""What the run's nodes would have cost, from a small price table.

The prices are an assumption, stated with every number: a four-core cloud machine on demand and the usual spot
discount. A virtual node on a laptop costs nothing; what is compared is the mix, not the bill.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tierline.telemetry.measured import Measured, Unknown
from tierline.telemetry.records import NodeUse

SECONDS_PER_HOUR = 3600
CENTS_PER_DOLLAR = 100
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Cents per node and hour."""

    on_demand_cents_per_hour: float = 20.0
    spot_cents_per_hour: float = 6.0

    def cents(self, node: NodeUse) -> float:
        """Return what a node cost over the time it was there."""
        spot = node.capacity_type == "spot"
        price = self.spot_cents_per_hour if spot else self.on_demand_cents_per_hour
        return price * node.seconds / SECONDS_PER_HOUR

    @property
    def assumption(self) -> str:
        return (
            f"assumed prices: {self.on_demand_cents_per_hour:g} cents per on-demand node and hour, "
            f"{self.spot_cents_per_hour:g} cents per spot node and hour, each paid while it is there"
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars per million output tokens, per million that came in time, and the spot share of node time."""

    dollars_per_million_tokens: Measured
    dollars_per_million_goodput_tokens: Measured
    spot_share: Measured


def cost(nodes: Sequence[NodeUse], output_tokens: int, goodput_tokens: float, prices: PriceTable) -> Cost:
    """Spread the nodes' price over the tokens."""
    if not nodes:
        unknown = Unknown("no node was reported")
        return Cost(unknown, unknown, unknown)
    dollars = sum(prices.cents(node) for node in nodes) / CENTS_PER_DOLLAR
    seconds = sum(node.seconds for node in nodes)
    spot = sum(node.seconds for node in nodes if node.capacity_type == "spot")
    return Cost(
        _per_million(dollars, output_tokens),
        _per_million(dollars, goodput_tokens),
        spot / seconds if seconds else Unknown("the run took no time"),
    )


def _per_million(dollars: float, tokens: float) -> Measured:
    return dollars * MILLION / tokens if tokens else Unknown("no such token was delivered")
