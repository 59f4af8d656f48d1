"""The decisions about a pod: from its spec, its state and the time to what has to be done now.

Level-triggered: the same state always asks for the same actions, so a lost wake-up costs time and never correctness.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tierline_devcluster.agent.pod.spec import Container, Pod
from tierline_devcluster.agent.pod.state import ContainerState, Phase, PodState, StopStep


@dataclass(frozen=True, slots=True)
class Start:
    """Start the container's process."""

    name: str


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the container's preStop hook."""

    name: str


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM to the container's process group."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to everything the container started."""

    name: str


@dataclass(frozen=True, slots=True)
class Fail:
    """Fail the pod, which was refused."""


Action = Start | RunHook | Terminate | Kill
"""Something to do to one container."""


def decide(pod: Pod, state: PodState, now_s: float) -> tuple[Action | Fail, ...]:
    """Return what has to be done now; the caller records each action before it asks again."""
    refusal = state.refusal
    if refusal is not None:
        return (Fail(),) if not refusal.failed and refusal.fails_at_s <= now_s else ()
    return (*_stops(pod, state, now_s), *(Start(name) for name in _startable(pod, state, now_s)))


def wake_at_s(pod: Pod, state: PodState) -> float | None:
    """Return when `decide` may answer differently without any new observation; None when never."""
    times = [
        each.stop.deadline_s
        for each in state.containers.values()
        if each.stop is not None and each.stop.step < StopStep.KILL
    ]
    if state.refusal is not None and not state.refusal.failed:
        times.append(state.refusal.fails_at_s)
    times.extend(state.containers[name].not_before_s for name in _waiting(pod, state))
    return min(times, default=None)


def is_over(state: PodState) -> bool:
    """Whether a pod that had to stop has nothing left to stop."""
    return state.stop_deadline_s is not None and not state.anything_runs


def initialized(pod: Pod, state: PodState) -> bool:
    """Whether every init container has succeeded."""
    return all(state.containers[each.name].succeeded for each in pod.spec.init_containers)


def _startable(pod: Pod, state: PodState, now_s: float) -> Iterator[str]:
    return (name for name in _waiting(pod, state) if state.containers[name].not_before_s <= now_s)


def _waiting(pod: Pod, state: PodState) -> Iterator[str]:
    """Containers whose turn it is: the first unfinished init container, or all main ones."""
    if state.stop_deadline_s is not None or state.refusal is not None:
        return
    for container in pod.spec.init_containers:
        if not state.containers[container.name].succeeded:
            yield from _if_waiting(container, state)
            return
    for container in pod.spec.containers:
        yield from _if_waiting(container, state)


def _if_waiting(container: Container, state: PodState) -> Iterator[str]:
    if state.containers[container.name].phase is Phase.WAITING:
        yield container.name


def _stops(pod: Pod, state: PodState, now_s: float) -> Iterator[Action]:
    for container in pod.all_containers:
        action = _next_stop(container, state.containers[container.name], now_s)
        if action is not None:
            yield action


def _next_stop(container: Container, current: ContainerState, now_s: float) -> Action | None:
    stop = current.stop
    if stop is None or stop.step is StopStep.KILL:
        return None
    if now_s >= stop.deadline_s:
        return Kill(container.name)
    if stop.step is StopStep.ASKED and container.pre_stop is not None:
        return RunHook(container.name)
    if stop.step in (StopStep.ASKED, StopStep.HOOK_DONE):
        return Terminate(container.name)
    return None


STEP_AFTER: dict[type[Action], StopStep] = {
    RunHook: StopStep.HOOK,
    Terminate: StopStep.TERM,
    Kill: StopStep.KILL,
}
"""The step that an action takes a stopping container to."""
