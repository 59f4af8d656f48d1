import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.queueing.service_counters import Change, PeerService, ServiceCounters
from tierline.scheduling.queueing.service_exchange import LOST_AFTER_MS, SharedService


def exchange(hub: SharedService, name: str, counters: ServiceCounters, now_ms: float = 0.0) -> None:
    counters.adopt(hub.merge(name, counters.begin_exchange(), now_ms))


def test_a_tenant_that_comes_is_lifted_to_the_lowest_that_waits() -> None:
    """The paper's first case: two tenants wait at 700 and 500, the third was idle at 10."""
    counters = ServiceCounters()
    for tenant, service in (("a", 700), ("b", 500), ("c", 10)):
        counters.charge(tenant, service)
    counters.arrived("b", 1)
    counters.arrived("a", 1)
    assert counters.level("c") == 500
    counters.arrived("c", 1)
    assert [counters.of(tenant) for tenant in "abc"] == [700, 500, 500]


def test_with_an_empty_queue_it_is_lifted_to_the_tenant_that_left_last() -> None:
    """The paper's second case."""
    counters = ServiceCounters()
    counters.arrived("a", 1)
    counters.left("a", 1)
    counters.charge("a", 300)
    counters.arrived("b", 1)
    assert counters.of("b") == 300


def test_a_refund_gives_back_what_was_charged_whatever_is_predicted_now() -> None:
    counters = ServiceCounters()
    counters.prepay("r", "a", 120.0, 20.0)
    counters.refund("r")
    counters.settle("r")
    assert counters.of("a") == 0


def test_charges_of_two_gateways_add_up_and_lifts_do_not() -> None:
    hub, one, two = SharedService(), ServiceCounters(), ServiceCounters()
    for counters in (one, two):
        counters.charge("old", 50)
        counters.arrived("old", 1)
    for counters in (one, two):
        counters.arrived("new", 1)
        counters.charge("new", 10)
    for name, counters in (("one", one), ("two", two), ("one", one)):
        exchange(hub, name, counters)
    assert one.of("old") == two.of("old") == 100
    assert one.of("new") == two.of("new") == 70


def test_the_lowest_that_waits_anywhere_sets_the_level() -> None:
    hub, one, two = SharedService(), ServiceCounters(), ServiceCounters()
    one.charge("a", 1000)
    one.arrived("a", 7)
    two.arrived("b", 7)
    exchange(hub, "one", one)
    exchange(hub, "two", two)
    exchange(hub, "one", one)
    assert one.lowest(("a",), 7) == 0
    assert one.lowest(("a",), 8) == 1000
    assert one.level("c") == 0


def test_a_gateway_that_is_silent_holds_nobody_back_for_long() -> None:
    hub, one, two = SharedService(), ServiceCounters(), ServiceCounters()
    one.charge("a", 1000)
    one.arrived("a", 7)
    two.arrived("b", 7)
    exchange(hub, "two", two)
    exchange(hub, "one", one)
    assert one.lowest(("a",), 7) == 0
    exchange(hub, "one", one, LOST_AFTER_MS + 1)
    assert one.lowest(("a",), 7) == 1000


def test_what_could_not_be_reported_is_reported_later() -> None:
    one = ServiceCounters()
    one.charge("a", 40)
    one.begin_exchange()
    one.charge("a", 2)
    one.abandon_exchange()
    assert one.of("a") == 42
    assert one.begin_exchange()["a"].change == Change(42, 42)
    one.adopt({"a": PeerService(142.0)})
    assert one.of("a") == 142
    assert not one.begin_exchange()


def test_a_restarted_gateway_goes_on_where_it_was() -> None:
    before, after = ServiceCounters(), ServiceCounters()
    before.charge("a", 900)
    before.charge("b", 100)
    after.restore(before.snapshot())
    after.arrived("a", 1)
    after.arrived("b", 1)
    assert (after.of("a"), after.of("b")) == (900, 900)


def test_a_restored_counter_is_merged_as_a_floor() -> None:
    hub, before, after = SharedService(), ServiceCounters(), ServiceCounters()
    before.charge("a", 900)
    exchange(hub, "one", before)
    after.restore(before.snapshot())
    exchange(hub, "one", after)
    assert after.of("a") == 900


def test_a_hundred_thousand_ids_leave_bounded_state_and_the_newest_pays_for_the_forgotten() -> None:
    counters = ServiceCounters(remembered=64)
    for number in range(100_000):
        counters.arrived(f"t{number}", 1)
        counters.prepay(f"r{number}", f"t{number}", 10.0, 5.0)
        counters.left(f"t{number}", 1)
        counters.settle(f"r{number}")
    assert len(counters) <= 2 * 64
    assert counters.of("another") > 0
    assert counters.of("t7") >= 5


def beside() -> tuple[ServiceCounters, ServiceCounters]:
    """The counters of two models behind one gateway."""
    chat, code = ServiceCounters(), ServiceCounters()
    chat.stand_beside([code])
    code.stand_beside([chat])
    return chat, code


def test_what_a_tenant_gets_of_one_model_counts_at_the_other_and_is_given_back_there() -> None:
    chat, code = beside()
    code.arrived("a", 1)
    code.arrived("b", 1)
    chat.prepay("r", "a", 100.0, 60.0)
    chat.charge_output("r", "a", 10.0)
    chat.settle("r")
    assert (code.of("a"), code.of("b")) == (chat.of("a"), 0.0) == (50.0, 0.0)


def test_lifting_is_each_models_own_matter() -> None:
    """A tenant that was lifted at a busy model is not put back for it at the quiet one, nor the other way round."""
    chat, code = beside()
    for tenant, counters, service in (("busy", chat, 10_000.0), ("quiet", code, 10.0)):
        counters.arrived(tenant, 1)
        counters.charge(tenant, service)
    chat.arrived("new", 1)
    assert chat.of("new") == 10_000
    code.arrived("new", 1)
    assert code.of("new") == 10
    chat.charge("new", 5.0)
    assert (chat.of("new"), code.of("new"), code.of("busy")) == (10_005, 15, 0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.floats(0, 1e6)), max_size=30))
def test_tenants_known_at_both_models_are_charged_the_same_at_both(charges: list[tuple[str, bool, float]]) -> None:
    chat, code = beside()
    for counters in (chat, code):
        for tenant in "ab":
            counters.arrived(tenant, 1)
            counters.charge(tenant, 0.0)
    for tenant, at_chat, service in charges:
        (chat if at_chat else code).charge(tenant, service)
    for tenant in "ab":
        total = sum(service for whose, _, service in charges if whose == tenant)
        assert chat.of(tenant) == pytest.approx(total)
        assert code.of(tenant) == pytest.approx(total)
