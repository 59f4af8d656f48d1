"""What can be rented: a market is one zone's supply of one accelerator, spot or on demand.

An empty zone or accelerator means "whichever": a node without the label belongs to the market of that name, and a slot
with an empty zone leaves the choice to kube-scheduler.
"""

from dataclasses import dataclass
from enum import Enum


class Supply(Enum):
    """How capacity is rented; the values are those of the node label and of the price table."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


@dataclass(frozen=True, slots=True, order=True)
class Market:
    """One zone's accelerators of one kind."""

    zone: str
    accelerator: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.zone, self.accelerator) if part) or "any zone"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one worker is to run. A supply of None leaves that open too; `avoid_node` is a node about to be emptied."""

    supply: Supply | None = None
    market: Market = Market("")
    avoid_node: str = ""


ANYWHERE = Slot()
