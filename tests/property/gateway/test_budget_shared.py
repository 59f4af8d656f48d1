"""Gateways exchange, lose replies, end and start anew in any order: a budget is exceeded by no more than the bound."""

from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore
from spending_gateway import ASK, SpendingGateway

from tierline.scheduling.admission.spending import MICROCENTS

steps = st.tuples(st.integers(0, 2), st.sampled_from(["admit", "admit", "settle", "exchange", "late", "end"]))


def exchange(gateway: SpendingGateway) -> None:
    try:
        gateway.sharing.exchange().send(None)
    except StopIteration:
        return
    raise AssertionError("the exchange waits")


@given(st.lists(steps, max_size=80))
def test_what_all_spend_exceeds_the_budget_by_at_most_what_was_set_aside_unseen(taken: list[tuple[int, str]]) -> None:
    store, lives, spent = MemoryStore(), 3, 0
    gateways = [SpendingGateway(store, f"g{at}", 1) for at in range(3)]
    untold, admitted, most_admitted, lost = [0, 0, 0], 0, 0, 0
    for at, step in taken:
        gateway = gateways[at]
        if step == "admit" and gateway.admit():
            admitted += ASK.most_microcents
            most_admitted = max(most_admitted, admitted)
        if step == "settle" and gateway.usage.concurrent:
            gateway.settle()
            spent += ASK.most_microcents
            untold[at] += ASK.most_microcents
        if step == "late":
            store.lose_reply = True
            exchange(gateway)
            store.lose_reply = False
        if step == "end":
            gateways[at], lives = SpendingGateway(store, f"g{lives}", 1), lives + 1
            lost, untold[at] = lost + untold[at], 0
        if step in {"exchange", "end"}:
            for each in gateways * 2:
                exchange(each)
            untold, admitted = [0, 0, 0], 0
        assert spent <= MICROCENTS + most_admitted + lost
