"""What the agent knows of a pod's life: immutable states and the transitions that observations cause.

Times are seconds of the epoch and are always given by the caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from tierline_devcluster.agent.pod.spec import Container, Pod, RestartPolicy

SIGNAL_EXIT_BASE = 128
START_FAILED_CODE = 128


class Phase(StrEnum):
    """Where one container is; EXITED is final unless the restart policy says otherwise."""

    WAITING = "waiting"
    RUNNING = "running"
    EXITED = "exited"


class StopStep(IntEnum):
    """How far the stopping of a container has gone; a step is never taken back."""

    ASKED = 0
    HOOK = 1
    HOOK_DONE = 2
    TERM = 3
    KILL = 4


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pause before restarts: `base_s` doubling up to `limit_s`, forgotten after a run of `healthy_after_s`."""

    base_s: float = 1.0
    limit_s: float = 30.0
    healthy_after_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """Pause before the restart that follows the `failures`-th failure in a row (from 1)."""
        return float(min(self.limit_s, self.base_s * 2 ** min(failures - 1, 32)))


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    signal: int
    reason: str
    message: str
    started_at_s: float
    finished_at_s: float
    container_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A container that has to go, by `deadline_s` at the latest."""

    deadline_s: float
    step: StopStep = StopStep.ASKED


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container now.

    `failures` counts ends in a row without a healthy run; `started` and `ready` are the probes' verdicts.
    """

    phase: Phase = Phase.WAITING
    reason: str = "ContainerCreating"
    message: str = ""
    not_before_s: float = 0.0
    container_id: str = ""
    started_at_s: float = 0.0
    started: bool = False
    ready: bool = False
    restarts: int = 0
    failures: int = 0
    exit: Exit | None = None
    last_exit: Exit | None = None
    stop: Stop | None = None

    @property
    def succeeded(self) -> bool:
        return self.phase is Phase.EXITED and self.exit is not None and self.exit.code == 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the pod fails without its containers having their say: at `fails_at_s`, or `failed` already."""

    reason: str
    message: str
    fails_at_s: float = 0.0
    failed: bool = True


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod's containers by name, when it has to be gone, and whether its object is gone already."""

    containers: Mapping[str, ContainerState]
    accepted_at_s: float
    stop_deadline_s: float | None = None
    removed: bool = False
    refusal: Refusal | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def with_container(self, name: str, container: ContainerState) -> "PodState":
        return replace(self, containers={**self.containers, name: container})

    @property
    def anything_runs(self) -> bool:
        return any(each.phase is Phase.RUNNING for each in self.containers.values())


def accepted(pod: Pod, backoff: Backoff, now_s: float) -> PodState:
    """Return the state of a pod that was just bound: everything waits."""
    reason = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    main = {each.name: ContainerState(reason=reason) for each in pod.spec.containers}
    init = {each.name: ContainerState(reason="PodInitializing") for each in pod.spec.init_containers}
    return PodState({**init, **main}, accepted_at_s=now_s, backoff=backoff)


def refused(pod: Pod, reason: str, message: str, fails_at_s: float, now_s: float) -> PodState:
    """Return the state of a pod that this node will not run: it waits visibly and fails at `fails_at_s`."""
    waiting = ContainerState(reason=reason, message=message)
    containers = {each.name: waiting for each in pod.all_containers}
    refusal = Refusal(reason, message, fails_at_s, failed=False)
    return PodState(containers, accepted_at_s=now_s, refusal=refusal)


def refusal_done(state: PodState) -> PodState:
    assert state.refusal is not None, "only a refused pod fails so"
    return replace(state, refusal=replace(state.refusal, failed=True))


def container_started(state: PodState, container: Container, container_id: str, now_s: float) -> PodState:
    """Record a new process; it is ready at once where no probe says otherwise."""
    old = state.containers[container.name]
    started = container.startup_probe is None
    stop = Stop(state.stop_deadline_s) if state.stop_deadline_s is not None else None
    new = replace(
        old,
        phase=Phase.RUNNING,
        reason="",
        message="",
        container_id=container_id,
        started_at_s=now_s,
        started=started,
        ready=started and container.readiness_probe is None,
        exit=None,
        stop=stop,
    )
    return state.with_container(container.name, new)


def configuration_missing(state: PodState, name: str, message: str, now_s: float) -> PodState:
    """Record that a referenced object does not exist: the container waits, and no restart is counted."""
    retry_s = now_s + 2 * state.backoff.base_s
    old = state.containers[name]
    waiting = replace(old, reason="CreateContainerConfigError", message=message, not_before_s=retry_s)
    return state.with_container(name, waiting)


def container_start_failed(state: PodState, name: str, message: str, policy: RestartPolicy, now_s: float) -> PodState:
    """Record a command that could not be started; the restart policy treats it as a failed run."""
    end = Exit(START_FAILED_CODE, 0, "StartError", message, now_s, now_s, "")
    return _ended(state, name, end, policy)


def container_exited(
    state: PodState, name: str, returncode: int, policy: RestartPolicy, now_s: float, *, message: str = ""
) -> PodState:
    """Record a process's end; `returncode` is negative for death by signal, as in `subprocess`."""
    old = state.containers[name]
    signal = -returncode if returncode < 0 else 0
    code = SIGNAL_EXIT_BASE + signal if signal else returncode
    reason = "Completed" if code == 0 else "Error"
    end = Exit(code, signal, reason, message, old.started_at_s, now_s, old.container_id)
    return _ended(state, name, end, policy)


def container_lost(state: PodState, name: str, policy: RestartPolicy, now_s: float) -> PodState:
    """Record a process that ended while no agent was looking."""
    old = state.containers[name]
    message = "the node's agent was restarted"
    end = Exit(137, 9, "ContainerStatusUnknown", message, old.started_at_s, now_s, old.container_id)
    return _ended(state, name, end, policy)


def _ended(state: PodState, name: str, end: Exit, policy: RestartPolicy) -> PodState:
    old = state.containers[name]
    ended = replace(
        old, phase=Phase.EXITED, reason=end.reason, started=False, ready=False, stop=None, exit=end, message=end.message
    )
    if state.stop_deadline_s is None and _restarts(policy, end):
        ended = _back_off(ended, end, state.backoff)
    return state.with_container(name, ended)


def _restarts(policy: RestartPolicy, end: Exit) -> bool:
    return policy == "Always" or (policy == "OnFailure" and end.code != 0)


def _back_off(ended: ContainerState, end: Exit, backoff: Backoff) -> ContainerState:
    healthy = end.finished_at_s - end.started_at_s >= backoff.healthy_after_s
    failures = 1 if healthy else ended.failures + 1
    pause_s = backoff.pause_s(failures)
    return replace(
        ended,
        phase=Phase.WAITING,
        reason="CrashLoopBackOff",
        message=f"back-off {pause_s:g}s before the restart; last end: {end.reason} (exit code {end.code})",
        not_before_s=end.finished_at_s + pause_s,
        restarts=ended.restarts + 1,
        failures=failures,
        exit=None,
        last_exit=end,
    )


def stop_requested(state: PodState, deadline_s: float, *, removed: bool = False) -> PodState:
    """Record that the pod must be gone by `deadline_s`; a later request may only shorten the time."""
    current = state.stop_deadline_s
    deadline_s = deadline_s if current is None else min(current, deadline_s)
    containers = {name: _asked_to_stop(each, deadline_s) for name, each in state.containers.items()}
    removed = removed or state.removed
    return replace(state, containers=containers, stop_deadline_s=deadline_s, removed=removed)


def _asked_to_stop(container: ContainerState, deadline_s: float) -> ContainerState:
    if container.phase is not Phase.RUNNING:
        return container
    if container.stop is None:
        return replace(container, stop=Stop(deadline_s))
    return replace(container, stop=replace(container.stop, deadline_s=min(container.stop.deadline_s, deadline_s)))


def unhealthy(state: PodState, name: str, deadline_s: float) -> PodState:
    """Record a failed startup or liveness probe: this container has to be replaced."""
    old = state.containers[name]
    return state.with_container(name, _asked_to_stop(replace(old, ready=False), deadline_s))


def startup_passed(state: PodState, container: Container) -> PodState:
    old = state.containers[container.name]
    return state.with_container(container.name, replace(old, started=True, ready=container.readiness_probe is None))


def readiness_changed(state: PodState, name: str, *, ready: bool) -> PodState:
    return state.with_container(name, replace(state.containers[name], ready=ready))


def stop_advanced(state: PodState, name: str, step: StopStep) -> PodState:
    """Record that a stopping container reached `step`; nothing happens when it is further or gone."""
    old = state.containers[name]
    if old.stop is None or old.stop.step >= step:
        return state
    return state.with_container(name, replace(old, stop=replace(old.stop, step=step)))
