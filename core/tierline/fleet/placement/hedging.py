"""How many workers of a pool run on spot capacity, and how many on demand: SpotHedge.

    spot        = N - floor + extra
    on demand   = floor + short + max(lost - coming, standing)     short + lost = min(N - floor, spot - spot_ready)

`short` are replicas without a ready spot worker, `lost` are spares without one. Spot and on-demand workers are started
together; as spot ones become ready, on-demand ones go. So N workers serve from the on-demand cold start on, whatever
spot does, and the bill falls as soon as spot delivers (Mao et al., "SkyServe", EuroSys 2025, with the floor that always
runs on demand taken out of N first). Beyond the paper, a lost spare gets no stand-in while a spot worker is `coming` in
a market that is not known to be dry: N serve meanwhile. A stand-in that is there (`standing`) stays until the spare is.

Inputs: what the pool declares and what its spot workers do. Bounds: at most N on demand, at least `floor`. When not to
use it: with `SpotOnly` or `OnDemandOnly` there is one kind only and nothing stands in.
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


@dataclass(frozen=True, slots=True)
class SpotSeen:
    """What spot does for a pool: whether a market offers any, workers ready and coming, and on-demand ones beside."""

    offered: bool = True
    ready: int = 0
    coming: int = 0
    on_demand: int = 0


def lanes_of(hedge: Hedge, seen: SpotSeen) -> Lanes:
    """Return the workers wanted of each kind now."""
    if hedge.replicas <= 0:
        return Lanes(0, 0)
    if hedge.capacity is Capacity.SPOT:
        return Lanes(hedge.replicas + hedge.extra, 0)
    if hedge.capacity is not Capacity.PREFER_SPOT or not seen.offered:
        return Lanes(0, hedge.replicas)
    floor = min(hedge.floor, hedge.replicas)
    hedged = hedge.replicas - floor
    if not hedged:
        return Lanes(0, floor)
    short = max(hedged - seen.ready, 0)
    lost = min(hedged, max(hedged + hedge.extra - seen.ready, 0)) - short
    standing = min(lost, max(seen.on_demand - floor - short, 0))
    return Lanes(hedged + hedge.extra, floor + short + max(lost - seen.coming, standing))
