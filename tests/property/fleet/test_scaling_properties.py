from hypothesis import given, settings
from hypothesis import strategies as st
from loads import Following, pool

from tierline.fleet.scaling.planner import TURN_MS, ScalingPolicy

LOOKS = st.lists(
    st.tuples(
        st.floats(0, 500, allow_nan=False),
        st.integers(0, 200),
        st.one_of(st.none(), st.floats(0, 5, allow_nan=False)),
        st.integers(5, 900),
    ),
    min_size=1,
    max_size=30,
)
POLICIES = st.builds(
    ScalingPolicy,
    utilization=st.floats(0.1, 0.95),
    stabilization_ms=st.integers(0, 600_000),
    idle_ms=st.integers(10_000, 600_000),
    forecasts=st.booleans(),
)


@settings(max_examples=60)
@given(LOOKS, POLICIES, st.integers(0, 3), st.integers(3, 12))
def test_bounds_hold_and_turns_are_rare_under_any_load(looks, policy, low, high):
    following = Following(pool(replicas=max(low, 1), low=low, high=high), policy=policy)
    turns: list[int] = []
    direction = 0
    for per_second, queued, pressure, seconds in looks:
        decision = following.look(seconds, per_second=per_second, queued=queued, ttft_pressure=pressure).decisions[0]
        assert low <= decision.replicas <= high
        step = (decision.replicas > decision.before) - (decision.replicas < decision.before)
        if step and direction and step != direction and decision.replicas:
            turns.append(following.now_ms)
        direction = step or direction
        assert len(following.memory.pools["main"].needs) <= 64
    for start in turns:
        assert sum(start <= it < start + TURN_MS for it in turns) <= 3
