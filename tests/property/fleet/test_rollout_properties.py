"""Whatever canaries show: a change is never spread unseen, and a pool keeps serving."""

from dataclasses import replace

from fleet_builders import carried_out, pod, pool
from hypothesis import given
from hypothesis import strategies as st

from tierline.fleet.pool_plan import plan_pool
from tierline.fleet.rollout.canary import CanaryFigures, TierFigures, judge_canary, wilson_lower
from tierline.fleet.rollout.steps import RolloutPolicy, RolloutRecord, RolloutView, step_rollout


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_lower_end_is_below_the_share_and_above_nothing(bad, good):
    total = bad + good
    assert 0.0 <= wilson_lower(bad, total) <= (bad / total if total else 0.0) + 1e-12


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 99))
def test_more_bad_requests_never_make_a_verdict_better(bad, good, attainment):
    def badness(count):
        figures = CanaryFigures({"gold": TierFigures(bad + good + 1, count)}, {})
        order = ("Passed", "Unsure", "Burning")
        return order.index(judge_canary(figures, {"gold": attainment}, 20).judgement.value)

    assert badness(bad) <= badness(bad + 1)


@st.composite
def changes(draw):
    replicas = draw(st.integers(1, 8))
    policy = RolloutPolicy(
        canary_percent=draw(st.sampled_from([None, 1, 20, 50, 100])),
        max_surge=draw(st.integers(1, 3)),
        max_unavailable=draw(st.integers(0, 2)),
        hold_ms=draw(st.sampled_from([0, 5_000])),
        min_requests=draw(st.sampled_from([0, 20])),
    )
    return replicas, policy


@given(changes(), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.booleans()), max_size=25))
def test_a_change_keeps_the_pool_serving_and_old_workers_until_it_has_passed(change, seconds):
    replicas, policy = change
    seen = pool(*(pod(n, revision="old") for n in range(1, replicas + 1)), replicas=replicas)
    seen = replace(seen, max_surge=policy.max_surge, max_unavailable=policy.max_unavailable)
    record = RolloutRecord(stable="old", target="old")
    for good, bad, ready in seconds:
        figures = CanaryFigures({"gold": TierFigures(good + bad, bad)}, {}) if good + bad else None
        view = RolloutView(record, "new", replicas, policy, seen.pods, seen.now_ms, figures, {"gold": 90})
        step = step_rollout(view)
        assert sum(step.shares.values()) in {replicas, replicas + 1}
        plan = plan_pool(replace(seen, shares=step.shares))
        after = carried_out(replace(seen, shares=step.shares), plan, ready=ready)
        assert sum(it.ready for it in after.pods) >= min(
            sum(it.ready for it in seen.pods), replicas - policy.max_unavailable
        )
        assert len(after.pods) <= max(len(seen.pods), replicas + 1 + policy.max_surge)
        if policy.canary_percent and not step.record.promoted and step.record.stable == "old":
            assert any(it.revision == "old" for it in after.pods), "nobody has vouched for the change"
        seen, record = replace(after, now_ms=seen.now_ms + 1000), step.record
