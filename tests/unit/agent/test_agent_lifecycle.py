"""The state machine of a pod, driven without any process."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_samples import container_json, pod

from tierline_devcluster.agent.pod import state as podstate
from tierline_devcluster.agent.pod.lifecycle import (
    STEP_AFTER,
    Fail,
    Kill,
    RunHook,
    Start,
    Terminate,
    decide,
    is_over,
    wake_at_s,
)
from tierline_devcluster.agent.pod.spec import Pod
from tierline_devcluster.agent.pod.state import Backoff, Phase, PodState, StopStep
from tierline_devcluster.agent.pod.status import pod_phase

HOOK = {"preStop": {"exec": {"command": ["true"]}}}


def fresh(a_pod: Pod) -> PodState:
    return podstate.accepted(a_pod, Backoff(1, 30, 60), 0.0)


def begin(a_pod: Pod, state: PodState, name: str, now_s: float = 0.0) -> PodState:
    container = a_pod.container(name)
    assert container is not None
    return podstate.container_started(state, container, f"process://{name}", now_s)


def end(a_pod: Pod, state: PodState, name: str, code: int, now_s: float = 0.0) -> PodState:
    return podstate.container_exited(state, name, code, a_pod.restart_policy(name), now_s)


def advance(state: PodState, action: object) -> PodState:
    return podstate.stop_advanced(state, action.name, STEP_AFTER[type(action)])  # type: ignore[attr-defined, index]


def test_all_main_containers_start_together() -> None:
    a_pod = pod(container_json("one"), container_json("two"))
    assert decide(a_pod, fresh(a_pod), 0.0) == (Start("one"), Start("two"))


def test_init_containers_start_one_after_the_other_and_first() -> None:
    a_pod = pod(container_json("main"), initContainers=[container_json("a"), container_json("b")])
    state = fresh(a_pod)
    for name in ("a", "b"):
        assert decide(a_pod, state, 0.0) == (Start(name),)
        state = begin(a_pod, state, name)
        assert decide(a_pod, state, 0.0) == ()
        assert pod_phase(a_pod, state) == "Pending"
        state = end(a_pod, state, name, 0)
    assert decide(a_pod, state, 0.0) == (Start("main"),)


def test_restarts_back_off_and_a_healthy_run_forgets_the_failures() -> None:
    a_pod = pod()
    state, now_s, pauses = fresh(a_pod), 0.0, []
    for _ in range(7):
        state = end(a_pod, begin(a_pod, state, "main", now_s), "main", 1, now_s)
        wake = wake_at_s(a_pod, state)
        assert wake is not None
        assert decide(a_pod, state, wake - 0.01) == ()
        assert decide(a_pod, state, wake) == (Start("main"),)
        pauses.append(wake - now_s)
        now_s = wake
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert state.containers["main"].reason == "CrashLoopBackOff"
    state = end(a_pod, begin(a_pod, state, "main", now_s), "main", 1, now_s + 61)
    assert wake_at_s(a_pod, state) == now_s + 62
    assert state.containers["main"].restarts == 8


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "phase"),
    [
        ("Always", 0, True, "Running"),
        ("Always", 1, True, "Running"),
        ("OnFailure", 0, False, "Succeeded"),
        ("OnFailure", 1, True, "Running"),
        ("Never", 0, False, "Succeeded"),
        ("Never", 1, False, "Failed"),
    ],
)
def test_the_restart_policy_decides_what_follows_an_end(policy: str, code: int, restarts: bool, phase: str) -> None:
    a_pod = pod(restartPolicy=policy)
    state = end(a_pod, begin(a_pod, fresh(a_pod), "main"), "main", code)
    assert bool(decide(a_pod, state, 100.0)) is restarts
    assert pod_phase(a_pod, state) == phase


def test_death_by_signal_has_the_number_in_code_and_signal() -> None:
    a_pod = pod(restartPolicy="Never")
    state = end(a_pod, begin(a_pod, fresh(a_pod), "main"), "main", -9)
    ended = state.containers["main"].exit
    assert ended is not None
    assert (ended.code, ended.signal, ended.reason) == (137, 9, "Error")


def test_stopping_goes_through_hook_signal_and_kill() -> None:
    a_pod = pod(container_json(lifecycle=HOOK))
    state = podstate.stop_requested(begin(a_pod, fresh(a_pod), "main"), 10.0)
    assert decide(a_pod, state, 1.0) == (RunHook("main"),)
    state = advance(state, RunHook("main"))
    assert decide(a_pod, state, 1.0) == ()
    state = podstate.stop_advanced(state, "main", StopStep.HOOK_DONE)
    assert decide(a_pod, state, 2.0) == (Terminate("main"),)
    state = advance(state, Terminate("main"))
    assert decide(a_pod, state, 9.9) == ()
    assert wake_at_s(a_pod, state) == 10.0
    assert decide(a_pod, state, 10.0) == (Kill("main"),)
    state = advance(state, Kill("main"))
    assert (decide(a_pod, state, 11.0), wake_at_s(a_pod, state)) == ((), None)
    assert not is_over(state)
    assert is_over(end(a_pod, state, "main", -9, 11.0))


def test_a_late_hook_does_not_undo_a_kill() -> None:
    a_pod = pod(container_json(lifecycle=HOOK))
    state = podstate.stop_requested(begin(a_pod, fresh(a_pod), "main"), 1.0)
    state = advance(advance(state, RunHook("main")), Kill("main"))
    assert decide(a_pod, podstate.stop_advanced(state, "main", StopStep.HOOK_DONE), 2.0) == ()


def test_a_second_deletion_may_only_shorten_the_grace() -> None:
    a_pod = pod()
    state = podstate.stop_requested(begin(a_pod, fresh(a_pod), "main"), 30.0)
    state = podstate.stop_requested(podstate.stop_requested(state, 5.0), 60.0)
    assert wake_at_s(a_pod, state) == 5.0


def test_nothing_starts_once_the_pod_has_to_go() -> None:
    a_pod = pod()
    state = podstate.stop_requested(fresh(a_pod), 30.0)
    assert decide(a_pod, state, 0.0) == ()
    assert is_over(state)


def test_a_container_that_started_just_too_late_is_stopped_at_once() -> None:
    a_pod = pod()
    state = begin(a_pod, podstate.stop_requested(fresh(a_pod), 30.0), "main")
    assert decide(a_pod, state, 0.0) == (Terminate("main"),)


def test_an_unhealthy_container_is_stopped_alone_and_restarted() -> None:
    a_pod = pod(container_json("sick"), container_json("well"))
    state = fresh(a_pod)
    for name in ("sick", "well"):
        state = begin(a_pod, state, name)
    state = podstate.unhealthy(state, "sick", 30.0)
    assert decide(a_pod, state, 0.0) == (Terminate("sick"),)
    state = end(a_pod, advance(state, Terminate("sick")), "sick", -15, 1.0)
    assert state.containers["sick"].phase is Phase.WAITING
    assert decide(a_pod, state, 2.0) == (Start("sick"),)


def test_missing_configuration_waits_without_a_restart() -> None:
    a_pod = pod()
    state = podstate.configuration_missing(fresh(a_pod), "main", "Secret s does not exist", 0.0)
    assert decide(a_pod, state, 1.9) == ()
    assert decide(a_pod, state, 2.0) == (Start("main"),)
    assert state.containers["main"].restarts == 0


def test_a_refused_pod_waits_and_then_fails_and_never_starts() -> None:
    a_pod = pod()
    state = podstate.refused(a_pod, "UnsupportedPodSpec", "why", 5.0, 0.0)
    assert (decide(a_pod, state, 4.0), wake_at_s(a_pod, state), pod_phase(a_pod, state)) == ((), 5.0, "Pending")
    assert decide(a_pod, state, 5.0) == (Fail(),)
    state = podstate.refusal_done(state)
    assert (decide(a_pod, state, 6.0), wake_at_s(a_pod, state), pod_phase(a_pod, state)) == ((), None, "Failed")


STEPS = st.lists(st.tuples(st.sampled_from(["tick", "exit", "stop", "sick", "hook"]), st.floats(0, 5)), max_size=30)


@given(STEPS, st.sampled_from(["Always", "OnFailure", "Never"]))
def test_whatever_happens_decisions_are_consistent(steps: list[tuple[str, float]], policy: str) -> None:
    """A running container is never started, an ended one never signalled, and a stopping pod always ends."""
    a_pod = pod(container_json("main", lifecycle=HOOK), initContainers=[container_json("init")], restartPolicy=policy)
    state, now_s = fresh(a_pod), 0.0
    for kind, pause_s in steps:
        now_s += pause_s
        state = happen(a_pod, state, kind, now_s)
        state = carry_out(a_pod, state, now_s)
        assert decide(a_pod, state, now_s) == ()
    state = carry_out(a_pod, podstate.stop_requested(state, now_s), now_s)
    for name, each in state.containers.items():
        if each.phase is Phase.RUNNING:
            assert each.stop is not None
            assert each.stop.step is StopStep.KILL
            state = end(a_pod, state, name, -9, now_s)
    assert is_over(state)


def happen(a_pod: Pod, state: PodState, kind: str, now_s: float) -> PodState:
    running = [name for name, each in state.containers.items() if each.phase is Phase.RUNNING]
    if kind == "stop":
        return podstate.stop_requested(state, now_s + 3)
    for name in running:
        if kind == "exit":
            state = end(a_pod, state, name, int(now_s) % 2, now_s)
        elif kind == "sick":
            state = podstate.unhealthy(state, name, now_s + 3)
        elif kind == "hook" and (stop := state.containers[name].stop) and stop.step is StopStep.HOOK:
            state = podstate.stop_advanced(state, name, StopStep.HOOK_DONE)
    return state


def carry_out(a_pod: Pod, state: PodState, now_s: float) -> PodState:
    for action in decide(a_pod, state, now_s):
        assert not isinstance(action, Fail)
        phase = state.containers[action.name].phase
        if isinstance(action, Start):
            assert phase is Phase.WAITING
            assert state.stop_deadline_s is None
            state = begin(a_pod, state, action.name, now_s)
        else:
            assert phase is Phase.RUNNING
            state = advance(state, action)
    return state


def test_waiting_for_a_restart_leaves_no_stop_behind() -> None:
    a_pod = pod()
    state = podstate.unhealthy(begin(a_pod, fresh(a_pod), "main"), "main", 3.0)
    state = end(a_pod, state, "main", -15, 1.0)
    assert state.containers["main"] == replace(state.containers["main"], stop=None, ready=False, started=False)
