"""Group order: everybody is computed once, one model is plain deadline order, and passing costs nobody the promise."""

from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.queueing.group_order import Instance, RequestGroup, empty_order, group_order, next_group
from tierline.scheduling.queueing.waiting_time import WorkAhead, predicted_wait_ms

FIELDS = st.tuples(st.sampled_from("ab"), st.floats(1, 1000), st.floats(1, 50))
GROUPS = st.lists(FIELDS, min_size=1, max_size=12).map(
    lambda fields: [RequestGroup(f"g{at:02}", *each) for at, each in enumerate(fields)]
)


@given(GROUPS, st.floats(0, 100))
def test_everybody_is_computed_once(groups: list[RequestGroup], swap_ms: float) -> None:
    order = group_order(groups, Instance("a", swap_ms), 0.0)
    assert sorted(order, key=lambda group: group.name) == groups


@given(GROUPS, st.floats(0, 100))
def test_the_most_urgent_is_passed_only_when_it_is_in_time_all_the_same(
    groups: list[RequestGroup], swap_ms: float
) -> None:
    instance = Instance("a", swap_ms)
    chosen = next_group(groups, instance, 0.0)
    in_time = [group for group in groups if instance.takes_ms(group) <= group.deadline_ms]
    for group in in_time:
        if group.deadline_ms < chosen.deadline_ms:
            assert instance.takes_ms(chosen) + instance.takes_ms(group) <= group.deadline_ms + 1e-6 or (
                group is not min(in_time, key=lambda other: (other.deadline_ms, other.name))
            )


@given(GROUPS)
def test_one_model_is_in_time_wherever_deadline_order_is(groups: list[RequestGroup]) -> None:
    alike = [RequestGroup(group.name, "a", group.deadline_ms, group.work_ms) for group in groups]
    by_deadline = sorted(alike, key=lambda group: (group.deadline_ms, group.name))
    end_ms, feasible = 0.0, True
    for group in by_deadline:
        end_ms += group.work_ms
        feasible &= end_ms <= group.deadline_ms
    if feasible:
        assert list(group_order(alike, Instance("a", 10.0), 0.0)) == by_deadline


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000), st.floats(0, 500)), max_size=6), st.floats(0.01, 10))
def test_a_wait_is_never_negative_and_grows_with_what_is_ahead(
    ahead: list[tuple[float, float, float]], per_ms: float
) -> None:
    groups = [WorkAhead(*each) for each in ahead]
    waits = [predicted_wait_ms(groups[:count], per_ms) for count in range(len(groups) + 1)]
    assert waits == sorted(waits)
    assert waits[0] == 0


@given(GROUPS, st.integers(0, 100))
def test_instances_without_a_model_go_to_whom_the_next_group_names_again_and_again(
    groups: list[RequestGroup], now_ms: int
) -> None:
    left, named = list(groups), []
    while left:
        named.append(next_group(left, Instance("", 0.0), now_ms))
        left.remove(named[-1])
    assert list(empty_order(groups, now_ms)) == named
