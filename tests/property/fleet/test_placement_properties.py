from collections import Counter
from dataclasses import replace

from fleet_builders import NOW, pool
from fleet_builders import pod as observed_pod
from hypothesis import given
from hypothesis import strategies as st
from placing import ON_DEMAND, SPOT, ZONES, is_settled, pod, settled

from tierline.fleet.placement.hedging import Hedge
from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.planner import Offer, PlacementTerms, PlacementView, place
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.pool_plan import plan_pool
from tierline.fleet.wanted import Capacity, ZoneSpread

CAPACITIES = st.sampled_from(Capacity)
COUNTS = st.integers(0, 6)


@st.composite
def offers(draw: st.DrawFn) -> tuple[Offer, ...]:
    places = [(supply, zone) for supply in Supply for zone in ZONES]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=len(places)))
    return tuple(
        Offer(supply, Market(zone), draw(st.integers(0, 100)), draw(st.integers(0, 5)), stand_in_cents=100)
        for supply, zone in chosen
    )


@st.composite
def terms(draw: st.DrawFn) -> PlacementTerms:
    hedge = Hedge(draw(CAPACITIES), draw(COUNTS), draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    return PlacementTerms(hedge, draw(st.sampled_from(ZoneSpread)))


@st.composite
def pods(draw: st.DrawFn):
    places = st.tuples(st.sampled_from([SPOT, ON_DEMAND]), st.sampled_from(ZONES), st.booleans())
    drawn = draw(st.lists(places, max_size=8))
    return tuple(pod(f"p{index}", *place, ready=ready) for index, (*place, ready) in enumerate(drawn))


@st.composite
def views(draw: st.DrawFn) -> PlacementView:
    blamed = draw(st.frozensets(st.sampled_from([Market(zone) for zone in ZONES]), max_size=1))
    return PlacementView(draw(offers()), SpotHistory(preempted=blamed))


@given(terms(), pods(), views())
def test_a_place_without_room_is_taken_only_where_no_place_has_room(asked, running, seen):
    placement = place(asked, running, seen)
    room = {(offer.supply, offer.market.zone): offer.room for offer in seen.offers}
    used = Counter((slot.supply, slot.market.zone) for slot in placement.launches if slot.supply and slot.market.zone)
    strict = asked.spread is ZoneSpread.REQUIRED
    for (supply, zone), count in used.items():
        left = {key: room[key] - used[key] for key in room if key[0] is supply}
        active = seen.history.active([it.market for it in seen.offers if it.supply is SPOT], 0)
        if count > room[supply, zone] and not strict:
            rivals = [key for key in left if supply is ON_DEMAND or Market(key[1]) in active or not active]
            assert all(left[key] <= 0 for key in rivals)


@given(terms(), pods(), views())
def test_as_many_are_launched_as_are_missing(asked, running, seen):
    placement = place(asked, running, seen)
    left = len(running) - len(placement.misplaced | placement.surplus) + len(placement.launches)
    if asked.is_free:
        assert left == max(asked.hedge.replicas, len(running))
    else:
        assert left == placement.lanes.total >= asked.hedge.replicas


@given(terms(), pods(), views())
def test_no_placement_costs_a_ready_worker_that_is_needed(asked, running, seen):
    replicas = asked.hedge.replicas
    observed = tuple(
        observed_pod(index + 1, uid=it.uid, ready=it.ready, created_ms=NOW) for index, it in enumerate(running)
    )
    plan = plan_pool(pool(*observed, replicas=replicas, placement=place(asked, running, seen)))
    removed = {it.uid for it in plan.removals}
    ready = sum(it.ready for it in running)
    assert sum(it.ready for it in running if it.uid not in removed) >= min(ready, replicas)


@given(terms(), pods(), views())
def test_the_plan_of_the_planned_state_is_empty(asked, running, seen):
    after = settled(asked, running, seen)
    assert is_settled(place(asked, after, seen))


@given(terms(), views())
def test_strict_spread_differs_by_one_at_most(asked, seen):
    strict = replace(asked, spread=ZoneSpread.REQUIRED)
    launches = place(strict, (), seen).launches
    for supply in Supply:
        zones = {offer.market.zone for offer in seen.offers if offer.supply is supply}
        counts = Counter(slot.market.zone for slot in launches if slot.supply is supply and slot.market.zone)
        levels = [counts[zone] for zone in zones]
        assert not counts or max(levels) - min(levels) <= 1


@given(terms(), pods(), views(), st.data())
def test_a_dearer_market_never_gets_more_workers(asked, running, seen, data):
    if not seen.offers:
        return
    index = data.draw(st.integers(0, len(seen.offers) - 1))
    dearer = replace(
        seen.offers[index], cents_per_hour=seen.offers[index].cents_per_hour + data.draw(st.integers(1, 50))
    )
    after = replace(seen, offers=(*seen.offers[:index], dearer, *seen.offers[index + 1 :]))
    key = (dearer.supply, dearer.market)
    # Which zone an on-demand worker gets is kube-scheduler's choice while all cost the same.
    if all(slot.market.zone for slot in place(asked, running, seen).launches):
        assert _launched(place(asked, running, after), key) <= _launched(place(asked, running, seen), key)


def _launched(placement, key) -> int:
    return sum((slot.supply, slot.market) == key for slot in placement.launches)
