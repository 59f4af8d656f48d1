"""Short ways to say what the placement planner sees, and a pool whose placements are carried out at once."""

from dataclasses import replace

from tierline.fleet.placement.hedging import Hedge
from tierline.fleet.placement.market import Market, Slot, Supply
from tierline.fleet.placement.planner import Offer, PlacedPod, PlacementTerms, PlacementView, PoolPlacement, place
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.wanted import Capacity

SPOT, ON_DEMAND = Supply.SPOT, Supply.ON_DEMAND
ZONES = ("a", "b", "c")


def market(zone: str, accelerator: str = "") -> Market:
    return Market(zone, accelerator)


def spot(zone: str, cents: int = 30, room: int = 8, **more: object) -> Offer:
    return Offer(SPOT, Market(zone, str(more.pop("accelerator", ""))), cents, room, **more)  # type: ignore[arg-type]


def on_demand(zone: str, cents: int = 100, room: int = 8, **more: object) -> Offer:
    return Offer(ON_DEMAND, Market(zone, str(more.pop("accelerator", ""))), cents, room, **more)  # type: ignore[arg-type]


def pod(uid: str, supply: Supply | None, zone: str, **seen: object) -> PlacedPod:
    return PlacedPod(uid, supply, Market(zone, str(seen.pop("accelerator", ""))), **seen)  # type: ignore[arg-type]


def terms(replicas: int = 2, extra: int = 0, floor: int = 0, capacity: Capacity = Capacity.PREFER_SPOT, **more: object):
    return PlacementTerms(Hedge(capacity, replicas, extra, floor), **more)  # type: ignore[arg-type]


def view(*offers: Offer, history: SpotHistory | None = None, emptying: str = "") -> PlacementView:
    standard = (*(spot(zone) for zone in ZONES), *(on_demand(zone) for zone in ZONES))
    return PlacementView(offers or standard, history or SpotHistory(), emptying)


def launched(placement: PoolPlacement) -> list[tuple[str, str]]:
    return [(slot.supply.value if slot.supply else "any", slot.market.zone) for slot in placement.launches]


def as_pod(uid: str, slot: Slot, offers: tuple[Offer, ...], ready: bool) -> PlacedPod:
    """Return the worker that a slot becomes; where the zone is open the first that has room is taken."""
    fitting = [
        offer
        for offer in offers
        if slot.supply in {None, offer.supply} and slot.market.zone in {"", offer.market.zone} and offer.room > 0
    ]
    market_of = fitting[0].market if fitting and not slot.market.zone else slot.market
    return PlacedPod(uid, slot.supply, market_of, ready)


def is_settled(planned: PoolPlacement) -> bool:
    return not (planned.launches or planned.misplaced or planned.surplus)


def settled(asked: PlacementTerms, pods: tuple[PlacedPod, ...], seen: PlacementView) -> tuple[PlacedPod, ...]:
    """Carry placements out, every worker ready at once, until nothing is left to do; returns the workers."""
    for step in range(50):
        planned = place(asked, pods, seen)
        if is_settled(planned):
            return pods
        gone = planned.misplaced | planned.surplus
        made = tuple(as_pod(f"s{step}-{n}", slot, seen.offers, True) for n, slot in enumerate(planned.launches))
        pods = tuple(replace(it, ready=True, waiting_ms=0) for it in pods if it.uid not in gone) + made
    raise AssertionError(f"does not settle: {place(asked, pods, seen)}")
