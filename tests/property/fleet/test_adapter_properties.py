"""Whatever adapters and workers there are: limits hold, and a plan carried out leaves nothing to do."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.adapters.planner import AdapterWorker, HeldAdapter, WantedAdapter, plan_adapters

NAMES = tuple("abcdef")
adapters = st.builds(
    WantedAdapter,
    name=st.sampled_from(NAMES),
    source=st.sampled_from(["s1", "s2"]),
    rank=st.sampled_from([4, 16]),
    pinned=st.booleans(),
    max_workers=st.sampled_from([None, 1, 2]),
)
held = st.builds(HeldAdapter, name=st.sampled_from(NAMES), source=st.sampled_from(["", "s1", "s2"]))
workers = st.builds(
    AdapterWorker,
    name=st.sampled_from(["w1", "w2", "w3"]),
    limit=st.integers(0, 4),
    max_rank=st.sampled_from([8, 64]),
    held=st.lists(held, max_size=4, unique_by=lambda it: it.name).map(tuple),
)


def carried_out(workers, plan):
    gone = {(it.worker, it.name) for it in plan.unloadings} | {(it.worker, it.adapter.name) for it in plan.loadings}
    after = []
    for worker in workers:
        kept = [it for it in worker.held if (worker.name, it.name) not in gone]
        new = [HeldAdapter(it.adapter.name, it.adapter.source) for it in plan.loadings if it.worker == worker.name]
        after.append(replace(worker, held=(*kept, *new)))
    return after


@given(
    st.lists(adapters, max_size=6, unique_by=lambda it: it.name),
    st.lists(workers, max_size=3, unique_by=lambda it: it.name),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9)),
)
def test_limits_hold_and_it_settles_at_once(wanted, seen, uses):
    own = {it.name for worker in seen for it in worker.held if not it.source}
    wanted = [it for it in wanted if it.name not in own]
    plan = plan_adapters(wanted, seen, uses)
    after = carried_out(seen, plan)
    for worker in after:
        own_here = sum(not it.source for it in worker.held)
        assert len(worker.held) <= max(worker.limit, own_here)
    again = plan_adapters(wanted, after, uses)
    assert (again.loadings, again.unloadings) == ((), ())
    ranks = {it.name: it.rank for it in wanted}
    limits = {it.name: it.max_rank for it in seen}
    assert all(ranks[it.adapter.name] <= limits[it.worker] for it in plan.loadings)
