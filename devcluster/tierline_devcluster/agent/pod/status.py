"""A pod's `status` as the API shows it, from the agent's state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tierline_devcluster.agent.pod.lifecycle import initialized
from tierline_devcluster.agent.pod.spec import Container, Json, Pod
from tierline_devcluster.agent.pod.state import ContainerState, Exit, Phase, PodState

HOST_IP = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition's value; the time of its last change is added when it is written."""

    value: bool
    reason: str = ""
    message: str = ""


def timestamp(epoch_s: float) -> str:
    """Return RFC 3339 in whole seconds, as `metav1.Time` wants it."""
    return datetime.fromtimestamp(int(epoch_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def pod_phase(pod: Pod, state: PodState) -> str:
    """Return Pending, Running, Succeeded or Failed."""
    if state.refusal is not None:
        return "Failed" if state.refusal.failed else "Pending"
    if _init_failed(pod, state):
        return "Failed"
    mains = [state.containers[each.name] for each in pod.spec.containers]
    if all(each.phase is Phase.EXITED for each in mains):
        return "Succeeded" if all(each.succeeded for each in mains) else "Failed"
    if any(each.phase is Phase.WAITING and each.last_exit is None for each in mains):
        return "Pending"
    return "Running"


def _init_failed(pod: Pod, state: PodState) -> bool:
    inits = (state.containers[each.name] for each in pod.spec.init_containers)
    return any(each.phase is Phase.EXITED and not each.succeeded for each in inits)


def is_terminal(phase: str) -> bool:
    return phase in ("Succeeded", "Failed")


def pod_status(pod: Pod, state: PodState, pod_ip: str, previous: Json, now_s: float) -> Json:
    """Return the whole status to write; `previous` (the status written last) keeps the conditions' times steady."""
    phase = pod_phase(pod, state)
    status: Json = {
        "phase": phase,
        "hostIP": HOST_IP,
        "startTime": timestamp(state.accepted_at_s),
        "conditions": _with_times(_conditions(pod, state, phase), previous, now_s),
        "containerStatuses": [_container_status(each, state.containers[each.name]) for each in pod.spec.containers],
    }
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    if pod.spec.init_containers:
        status["initContainerStatuses"] = [
            _container_status(each, state.containers[each.name]) for each in pod.spec.init_containers
        ]
    if state.refusal is not None:
        status |= {"reason": state.refusal.reason, "message": state.refusal.message}
    return status


def _conditions(pod: Pod, state: PodState, phase: str) -> Mapping[str, Condition]:
    unready = [each.name for each in pod.spec.containers if not state.containers[each.name].ready]
    if phase == "Succeeded":
        ready = Condition(value=False, reason="PodCompleted")
    elif unready:
        ready = Condition(False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = Condition(value=True)
    done = initialized(pod, state)
    start = Condition(done, "" if done else "ContainersNotInitialized")
    return {
        "Initialized": start,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": Condition(value=True),
    }


def _with_times(conditions: Mapping[str, Condition], previous: Json, now_s: float) -> list[Json]:
    before = {each["type"]: each for each in previous.get("conditions", [])}
    written = []
    for kind, condition in conditions.items():
        status = "True" if condition.value else "False"
        old = before.get(kind, {})
        changed = old.get("status") != status or not old.get("lastTransitionTime")
        entry = {"type": kind, "status": status, "reason": condition.reason, "message": condition.message}
        entry["lastTransitionTime"] = timestamp(now_s) if changed else old["lastTransitionTime"]
        written.append(entry)
    return written


def _container_status(container: Container, current: ContainerState) -> Json:
    status: Json = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": current.ready,
        "started": current.started,
        "restartCount": current.restarts,
        "state": _current(current),
        "lastState": {"terminated": _terminated(current.last_exit)} if current.last_exit else {},
    }
    identity = current.container_id or (current.last_exit.container_id if current.last_exit else "")
    return status | ({"containerID": identity} if identity else {})


def _current(current: ContainerState) -> Json:
    if current.phase is Phase.RUNNING:
        return {"running": {"startedAt": timestamp(current.started_at_s)}}
    if current.phase is Phase.EXITED and current.exit is not None:
        return {"terminated": _terminated(current.exit)}
    waiting = {"reason": current.reason, "message": current.message}
    return {"waiting": {key: value for key, value in waiting.items() if value}}


def _terminated(end: Exit) -> Json:
    entry: Json = {
        "exitCode": end.code,
        "reason": end.reason,
        "startedAt": timestamp(end.started_at_s),
        "finishedAt": timestamp(end.finished_at_s),
    }
    optional = {"signal": end.signal, "message": end.message, "containerID": end.container_id}
    return entry | {key: value for key, value in optional.items() if value}
