"""What the API is told of a pod, and what a new agent reads back from it."""

from pod_samples import container_json, pod

from tierline_devcluster.agent.pod import state as podstate
from tierline_devcluster.agent.pod.lifecycle import Start, decide
from tierline_devcluster.agent.pod.recovery import recovered
from tierline_devcluster.agent.pod.spec import Pod
from tierline_devcluster.agent.pod.state import Backoff, Phase, PodState
from tierline_devcluster.agent.pod.status import pod_status

BACKOFF = Backoff()
PROBE = {"tcpSocket": {"port": 1}}


def running(a_pod: Pod, now_s: float = 100.0) -> PodState:
    state = podstate.accepted(a_pod, BACKOFF, now_s)
    for each in a_pod.spec.containers:
        state = podstate.container_started(state, each, f"process://{each.name}", now_s)
    return state


def conditions(status: dict) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_a_running_pod_without_probes_is_ready() -> None:
    a_pod = pod()
    status = pod_status(a_pod, running(a_pod), "127.20.0.2", {}, 100.0)
    assert status["phase"] == "Running"
    assert (status["podIP"], status["podIPs"], status["hostIP"]) == ("127.20.0.2", [{"ip": "127.20.0.2"}], "127.0.0.1")
    assert set(conditions(status).values()) == {"True"}
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": "1970-01-01T00:01:40Z"}}
    assert status["containerStatuses"][0]["containerID"] == "process://main"


def test_a_readiness_probe_gates_and_names_the_unready_container() -> None:
    a_pod = pod(container_json(readinessProbe=PROBE), container_json("side"))
    state = running(a_pod)
    status = pod_status(a_pod, state, "", {}, 100.0)
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False"
    assert "[main]" in ready["message"]
    state = podstate.readiness_changed(state, "main", ready=True)
    assert conditions(pod_status(a_pod, state, "", {}, 100.0))["Ready"] == "True"


def test_a_startup_probe_holds_readiness_back() -> None:
    a_pod = pod(container_json(startupProbe=PROBE))
    state = running(a_pod)
    assert not state.containers["main"].ready
    state = podstate.startup_passed(state, a_pod.spec.containers[0])
    assert state.containers["main"].ready


def test_times_of_conditions_change_only_with_their_value() -> None:
    a_pod = pod()
    before = pod_status(a_pod, running(a_pod), "", {}, 100.0)
    after = pod_status(a_pod, running(a_pod), "", before, 200.0)
    assert after["conditions"] == before["conditions"]
    state = podstate.readiness_changed(running(a_pod), "main", ready=False)
    times = {
        each["type"]: each["lastTransitionTime"] for each in pod_status(a_pod, state, "", after, 300.0)["conditions"]
    }
    assert times["Ready"] == "1970-01-01T00:05:00Z"
    assert times["Initialized"] == "1970-01-01T00:01:40Z"


def test_a_new_agent_takes_what_ran_for_lost_and_restarts_it() -> None:
    a_pod = pod()
    status = pod_status(a_pod, running(a_pod), "127.20.0.2", {}, 100.0)
    state = recovered(a_pod, status, BACKOFF, 200.0)
    main = state.containers["main"]
    assert (main.phase, main.restarts, state.accepted_at_s) == (Phase.WAITING, 1, 100.0)
    assert main.last_exit is not None
    assert (main.last_exit.code, main.last_exit.reason) == (137, "ContainerStatusUnknown")
    assert decide(a_pod, state, 300.0) == (Start("main"),)


def test_a_new_agent_leaves_ended_pods_alone() -> None:
    a_pod = pod(restartPolicy="Never")
    state = podstate.container_exited(running(a_pod), "main", 3, "Never", 150.0)
    status = pod_status(a_pod, state, "", {}, 150.0)
    again = recovered(a_pod, status, BACKOFF, 200.0)
    assert decide(a_pod, again, 300.0) == ()
    assert pod_status(a_pod, again, "", status, 300.0) == status


def test_a_new_agent_keeps_a_refusal() -> None:
    a_pod = pod()
    state = podstate.refusal_done(podstate.refused(a_pod, "UnsupportedPodSpec", "why", 0.0, 100.0))
    status = pod_status(a_pod, state, "", {}, 100.0)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "UnsupportedPodSpec", "why")
    again = recovered(a_pod, status, BACKOFF, 200.0)
    assert pod_status(a_pod, again, "", status, 300.0)["phase"] == "Failed"


def test_a_new_agent_does_not_repeat_finished_init_containers() -> None:
    a_pod = pod(initContainers=[container_json("init")])
    state = podstate.accepted(a_pod, BACKOFF, 100.0)
    state = podstate.container_started(state, a_pod.spec.init_containers[0], "process://1", 100.0)
    state = podstate.container_exited(state, "init", 0, "Never", 101.0)
    again = recovered(a_pod, pod_status(a_pod, state, "", {}, 101.0), BACKOFF, 200.0)
    assert decide(a_pod, again, 200.0) == (Start("main"),)
