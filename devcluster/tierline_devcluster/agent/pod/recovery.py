"""The state of a pod that an earlier agent ran, read back from what that agent wrote into its status."""

from dataclasses import replace

from tierline_devcluster.agent.pod.spec import Json, Pod
from tierline_devcluster.agent.pod.state import (
    Backoff,
    ContainerState,
    Exit,
    Phase,
    PodState,
    Refusal,
    accepted,
    container_lost,
)
from tierline_devcluster.agent.pod.status import epoch_s


def recovered(pod: Pod, status: Json, backoff: Backoff, now_s: float) -> PodState:
    """Return the pod's state at an agent's start: what ran then is lost, what had ended stays ended."""
    state = accepted(pod, backoff, now_s)
    if "startTime" not in status:
        return state
    state = replace(state, accepted_at_s=epoch_s(status["startTime"]))
    if status.get("phase") == "Failed" and status.get("reason"):
        state = replace(state, refusal=Refusal(status["reason"], status.get("message", "")))
    for entry in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        state = _recover_container(pod, state, entry, now_s)
    return state


def _recover_container(pod: Pod, state: PodState, entry: Json, now_s: float) -> PodState:
    name, current = entry["name"], entry.get("state", {})
    last = entry.get("lastState", {}).get("terminated")
    known = replace(
        state.containers[name],
        restarts=entry.get("restartCount", 0),
        container_id=entry.get("containerID", ""),
        last_exit=_exit(last) if last else None,
    )
    if "terminated" in current:
        return state.with_container(name, _ended(known, _exit(current["terminated"])))
    state = state.with_container(name, known)
    if "running" not in current:
        return state
    running = replace(known, phase=Phase.RUNNING, started_at_s=epoch_s(current["running"]["startedAt"]))
    return container_lost(state.with_container(name, running), name, pod.restart_policy(name), now_s)


def _ended(known: ContainerState, end: Exit) -> ContainerState:
    return replace(known, phase=Phase.EXITED, reason=end.reason, message=end.message, exit=end)


def _exit(entry: Json) -> Exit:
    return Exit(
        code=entry["exitCode"],
        signal=entry.get("signal", 0),
        reason=entry.get("reason", ""),
        message=entry.get("message", ""),
        started_at_s=epoch_s(entry["startedAt"]),
        finished_at_s=epoch_s(entry["finishedAt"]),
        container_id=entry.get("containerID", ""),
    )
