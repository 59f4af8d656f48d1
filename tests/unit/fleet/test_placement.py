from placing import ON_DEMAND, SPOT, is_settled, launched, market, on_demand, pod, settled, spot, terms, view

from tierline.fleet.placement.hedging import Lanes
from tierline.fleet.placement.market import Market, Slot
from tierline.fleet.placement.planner import place
from tierline.fleet.placement.spot_history import SpotHistory
from tierline.fleet.wanted import Capacity, ZoneSpread


def test_a_new_pool_starts_spot_workers_in_different_zones_and_on_demand_ones_beside_them():
    placement = place(terms(replicas=2, extra=1), (), view())
    assert launched(placement) == [("spot", "a"), ("spot", "b"), ("spot", "c"), ("on-demand", ""), ("on-demand", "")]


def test_as_spot_workers_get_ready_the_stand_ins_go():
    pods = (pod("s1", SPOT, "a"), pod("s2", SPOT, "b"), pod("s3", SPOT, "c"), pod("o1", ON_DEMAND, "a"))
    placement = place(terms(replicas=2, extra=1), pods, view())
    assert placement.lanes == Lanes(3, 0)
    assert placement.surplus == {"o1"}
    assert not placement.launches


def test_a_reclaimed_worker_comes_back_in_another_zone_while_an_on_demand_one_stands_in():
    pods = (pod("s2", SPOT, "b"), pod("s3", SPOT, "c"))
    history = SpotHistory().reclaimed(market("a"), [market(zone) for zone in "abc"])
    placement = place(terms(replicas=3), pods, view(history=history))
    assert launched(placement) == [("spot", "b"), ("on-demand", "")]


def test_the_cheapest_zone_that_is_not_used_yet_comes_first():
    offers = (spot("a", 40), spot("b", 20), spot("c", 30), on_demand("a"))
    assert launched(place(terms(replicas=3, capacity=Capacity.SPOT), (), view(*offers))) == [
        ("spot", "b"),
        ("spot", "c"),
        ("spot", "a"),
    ]
    used = (pod("s1", SPOT, "b"),)
    assert launched(place(terms(replicas=2, capacity=Capacity.SPOT), used, view(*offers))) == [("spot", "c")]


def test_a_zone_that_reclaims_often_costs_more_than_its_price():
    history = SpotHistory()
    for hour in range(1, 25):
        history = history.observed(hour * 3_600_000, {market("a"): 1, market("b"): 1}, {market("a"): 1})
    offers = (spot("a", 30, stand_in_cents=100), spot("b", 32, stand_in_cents=100))
    assert launched(place(terms(replicas=1, capacity=Capacity.SPOT), (), view(*offers, history=history))) == [
        ("spot", "b")
    ]


def test_a_zone_with_room_comes_before_a_full_one():
    offers = (spot("a", 10, room=0), spot("b", 50, room=1))
    assert launched(place(terms(replicas=2, capacity=Capacity.SPOT), (), view(*offers))) == [
        ("spot", "b"),
        ("spot", "a"),
    ]


def test_of_zones_alike_the_one_with_the_weights_comes_first_as_long_as_it_has_room_for_warm_starts():
    offers = (spot("a", 30), spot("b", 30, warm_room=1), spot("c", 40, warm_room=8))
    asked = terms(replicas=2, capacity=Capacity.SPOT, spread=ZoneSpread.IGNORED)
    assert launched(place(asked, (), view(*offers))) == [("spot", "b"), ("spot", "a")]


def test_where_nobody_offers_spot_a_pool_that_prefers_it_runs_on_demand():
    assert launched(place(terms(replicas=2, extra=1), (), view(on_demand("a")))) == [("on-demand", "")] * 2


def test_on_demand_zones_are_named_only_where_their_prices_differ():
    asked = terms(replicas=1, capacity=Capacity.ON_DEMAND)
    assert launched(place(asked, (), view(on_demand("a"), on_demand("b")))) == [("on-demand", "")]
    assert launched(place(asked, (), view(on_demand("a", 120), on_demand("b", 100)))) == [("on-demand", "b")]


def test_a_worker_that_waits_in_a_zone_without_capacity_is_replaced_in_one_that_is_active():
    waiting = pod("s1", SPOT, "a", ready=False, waiting_ms=1)
    asked = terms(replicas=1, capacity=Capacity.SPOT)
    history = SpotHistory().failed(market("a"), [market(zone) for zone in "abc"], now_ms=0)
    placement = place(asked, (waiting,), view(history=history))
    assert placement.misplaced == {"s1"}
    assert launched(placement) == [("spot", "b")]
    assert is_settled(place(asked, (waiting,), view(spot("a"), history=history)))


def test_where_no_zone_is_known_to_be_better_patience_decides_and_grows_with_failures():
    zones = [market("a"), market("b")]
    offers = (spot("a"), spot("b"))
    dry = SpotHistory().failed(zones[0], zones, now_ms=0).failed(zones[1], zones, now_ms=0)
    for waited_ms, settled_there in ((240_000, True), (240_001, False)):
        waiting = pod("s1", SPOT, "a", ready=False, waiting_ms=waited_ms)
        placement = place(terms(replicas=1, capacity=Capacity.SPOT), (waiting,), view(*offers, history=dry))
        assert is_settled(placement) is settled_there


def test_of_too_many_workers_those_not_ready_go_first_then_those_in_the_fullest_zone_then_the_dearest():
    offers = (spot("a", 10), spot("b", 20), spot("c", 30))
    asked = terms(replicas=1, capacity=Capacity.SPOT)
    starting = (pod("s1", SPOT, "a"), pod("s2", SPOT, "b", ready=False))
    assert place(asked, starting, view(*offers)).surplus == {"s2"}
    crowded = (pod("s1", SPOT, "a", age_ms=9), pod("s2", SPOT, "a", age_ms=5), pod("s3", SPOT, "c", age_ms=1))
    assert place(terms(replicas=2, capacity=Capacity.SPOT), crowded, view(*offers)).surplus == {"s2"}
    assert place(asked, crowded, view(*offers)).surplus == {"s2", "s3"}


def test_accelerators_are_chosen_by_the_cost_of_a_token_or_in_the_declared_order():
    offers = (
        on_demand("a", 400, accelerator="h100", speed=5.0),
        on_demand("a", 100, accelerator="l4", speed=1.0),
        on_demand("a", 50, accelerator="t4", speed=0.3),
    )
    kinds = {"accelerators": ("l4", "h100"), "capacity": Capacity.ON_DEMAND}
    by_cost = place(terms(replicas=1, **kinds), (), view(*offers))
    assert by_cost.launches[0].market.accelerator == "h100"
    by_order = place(terms(replicas=1, by_order=True, **kinds), (), view(*offers))
    assert by_order.launches[0].market.accelerator == "l4"


def test_a_pool_with_several_accelerators_and_no_spot_policy_leaves_the_supply_open():
    offers = (spot("a", 30, accelerator="l4"), on_demand("b", 100, accelerator="l4"))
    placement = place(terms(1, capacity=Capacity.ANY, accelerators=("l4", "h100")), (), view(*offers))
    assert placement.launches == (Slot(None, Market("a", "l4")),)


def test_a_pool_that_asks_for_nothing_is_left_to_kube_scheduler():
    placement = place(terms(replicas=2, capacity=Capacity.ANY), (pod("p", None, "a"),), view())
    assert placement.launches == (Slot(),)
    assert placement.lanes.total == 2


def test_a_node_that_is_being_emptied_loses_its_workers_and_gets_no_new_ones():
    pods = (pod("p1", None, "a", node="n1"), pod("p2", None, "b", node="n2"))
    placement = place(terms(replicas=2, capacity=Capacity.ANY), pods, view(emptying="n1"))
    assert placement.misplaced == {"p1"}
    assert placement.spare == Slot(avoid_node="n1")


def test_strict_spread_keeps_zones_level_whatever_they_cost():
    offers = (spot("a", 10), spot("b", 90), spot("c", 50))
    asked = terms(replicas=6, capacity=Capacity.SPOT, spread=ZoneSpread.REQUIRED)
    zones = [it.market.zone for it in settled(asked, (), view(*offers))]
    assert sorted(zones) == ["a", "a", "b", "b", "c", "c"]


def test_ignored_spread_takes_the_cheapest_zone_until_it_is_full():
    offers = (spot("a", 10, room=2), spot("b", 90), spot("c", 50))
    asked = terms(replicas=3, capacity=Capacity.SPOT, spread=ZoneSpread.IGNORED)
    assert launched(place(asked, (), view(*offers))) == [("spot", "a"), ("spot", "a"), ("spot", "c")]
