"""How many workers of a pool run on spot capacity, and how many on demand: SpotHedge.

    spot        = N - floor + extra
    on demand   = floor + min(N - floor, spot - spot_ready)             never below floor, never above N

Spot and on-demand workers are started together; as spot ones become ready, on-demand ones go. So N workers serve from
the on-demand cold start on, whatever spot does, and the bill falls as soon as spot delivers (Mao et al., "SkyServe",
EuroSys 2025, with the floor that always runs on demand taken out of N first).

Inputs: what the pool declares, how many of its spot workers are ready, whether any market offers spot at all. Bounds:
at most N on demand. When not to use it: with `SpotOnly` or `OnDemandOnly` there is one kind only and nothing stands in.
"""

from dataclasses import dataclass

from tierline.fleet.wanted import Capacity


@dataclass(frozen=True, slots=True)
class Hedge:
    """What a pool declares: `replicas` that are to serve, spare spot ones, and those that always run on demand."""

    capacity: Capacity
    replicas: int
    extra: int = 0
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Lanes:
    """Workers wanted of each kind."""

    spot: int
    on_demand: int

    @property
    def total(self) -> int:
        return self.spot + self.on_demand


def lanes_of(hedge: Hedge, spot_ready: int, spot_offered: bool) -> Lanes:
    """Return the workers wanted of each kind now."""
    if hedge.replicas <= 0:
        return Lanes(0, 0)
    if hedge.capacity is Capacity.SPOT:
        return Lanes(hedge.replicas + hedge.extra, 0)
    if hedge.capacity is not Capacity.PREFER_SPOT or not spot_offered:
        return Lanes(0, hedge.replicas)
    floor = min(hedge.floor, hedge.replicas)
    hedged = hedge.replicas - floor
    spot = hedged + hedge.extra if hedged else 0
    return Lanes(spot, floor + max(0, min(hedged, spot - spot_ready)))
