import pytest
from placing import terms

from tierline.fleet.placement.consolidation import CALM_MS, node_to_empty
from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.prices import Price, PriceTable
from tierline.fleet.placement.room import UNLIMITED, Need, NodeRoom, cents_per_hour, offers_of
from tierline.fleet.quantities import amount
from tierline.fleet.wanted import Capacity

GPU = Need(gpus=1, cpu_milli=4000)
NODE = Need(gpus=4, cpu_milli=64_000, memory_bytes=2**38)


def node(name: str, *workers: str, supply: Supply = Supply.SPOT, zone: str = "a", kind: str = "h100") -> NodeRoom:
    """A node of four accelerators with workers of one each."""
    free = NODE
    for _ in workers:
        free -= GPU
    return NodeRoom(name, supply, Market(zone, kind), NODE, free, dict.fromkeys(workers, GPU))


def everyone(*nodes: NodeRoom) -> frozenset[str]:
    return frozenset(uid for it in nodes for uid in it.pods)


def test_the_scarcest_resource_says_how_many_fit():
    assert GPU.times(NODE) == 4
    assert Need(gpus=1, cpu_milli=32_000).times(NODE) == 2
    assert Need(gpus=8).times(NODE) == 0
    assert Need().times(NODE) == UNLIMITED
    assert GPU.times(Need(gpus=-1, cpu_milli=64_000)) == 0


def test_offers_tell_how_many_workers_fit_where_the_weights_are():
    nodes = (node("n1", "p1"), node("n2"), node("n3", zone="b"))
    asked = terms(capacity=Capacity.SPOT, accelerators=("h100",))
    offers = offers_of(nodes, PriceTable(), GPU, asked, {}, warm_nodes={"n1", "n3"})
    assert {it.market.zone: (it.room, it.warm_room) for it in offers} == {"a": (7, 3), "b": (4, 4)}


def test_offers_count_the_room_of_a_markets_nodes_and_price_all_accelerators_of_a_worker():
    prices = PriceTable((Price("*", Supply.SPOT, "*", 30), Price("*", Supply.ON_DEMAND, "*", 100)))
    nodes = (node("n1", "p1"), node("n2"), node("n3", zone="b", kind="l4"))
    asked = terms(capacity=Capacity.SPOT, accelerators=("h100",))
    (offer,) = offers_of(nodes, prices, Need(gpus=2, cpu_milli=1), asked, {"h100": 5.0})
    assert (offer.market, offer.room, offer.cents_per_hour) == (Market("a", "h100"), 3, 60)
    assert (offer.stand_in_cents, offer.speed) == (200, 5.0)


def test_a_market_named_in_the_price_table_is_an_offer_before_it_has_nodes():
    prices = PriceTable((Price("h100", Supply.SPOT, "c", 30),))
    (offer,) = offers_of((), prices, GPU, terms(), {})
    assert (offer.supply, offer.market, offer.room) == (Supply.SPOT, Market("c", "h100"), 0)


def test_what_workers_cost_follows_from_the_nodes_they_run_on():
    prices = PriceTable((Price("*", Supply.SPOT, "*", 30), Price("*", Supply.ON_DEMAND, "*", 100)))
    nodes = (node("n1", "p1", "other"), node("n2", "p2", supply=Supply.ON_DEMAND))
    assert cents_per_hour(nodes, prices) == {"p1": 30, "other": 30, "p2": 100}


def test_a_sparse_node_is_emptied_when_its_workers_fit_on_nodes_already_in_use():
    nodes = (node("n1", "p1"), node("n2", "p2", "p3"), node("n3"))
    assert node_to_empty(nodes, everyone(*nodes), CALM_MS) == "n1"


def test_no_node_is_emptied_while_things_move_or_when_its_workers_have_no_room_or_may_not_move():
    sparse, full = node("n1", "p1"), node("n2", "a", "b", "c", "d")
    nodes = (sparse, node("n2", "p2", "p3"))
    assert not node_to_empty(nodes, everyone(*nodes), CALM_MS - 1)
    assert not node_to_empty((sparse, full, node("n3")), everyone(sparse, full), CALM_MS)
    assert not node_to_empty(nodes, frozenset({"p2"}), CALM_MS)


def test_workers_stay_on_their_kind_of_node():
    other = (
        node("n2", "p2", "p3", supply=Supply.ON_DEMAND),
        node("n3", "p4", "p5", kind="l4"),
    )
    nodes = (node("n1", "p1"), *other)
    assert node_to_empty(nodes, frozenset({"p1"}), CALM_MS) == ""


def test_what_was_emptied_is_not_emptied_again_and_two_half_full_nodes_do_not_swap():
    nodes = (node("n1"), node("n2", "p1", "p2", "p3"))
    assert node_to_empty(nodes, everyone(*nodes), CALM_MS) == ""
    halves = (node("n1", "a", "b"), node("n2", "c", "d"))
    assert node_to_empty(halves, everyone(*halves), CALM_MS) == "n1"
    after = (node("n1"), node("n2", "a", "b", "c", "d"))
    assert node_to_empty(after, everyone(*after), CALM_MS) == ""


@pytest.mark.parametrize(
    ("text", "number"), [("500m", 0.5), ("2Gi", 2**31), ("4", 4), ("1k", 1000), (3, 3), ("many", None)]
)
def test_quantities_are_numbers(text, number):
    found = amount(text)
    assert found == number if number is None else float(found) == number
