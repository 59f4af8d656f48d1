"""The supervisor with stand-in components: small web servers instead of a control plane."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from tierline_devcluster.components.component import Component, Plan, ReadyCheck
from tierline_devcluster.components.ports import free_ports
from tierline_devcluster.progress import Silent
from tierline_devcluster.supervising.inspection import inspect
from tierline_devcluster.supervising.processes import wait_until_gone
from tierline_devcluster.supervising.state import StateDir
from tierline_devcluster.supervising.supervision import ClusterFailed, start_supervisor, stop_supervisor

PARENT = """
import signal, sys, time
from pathlib import Path
from tierline_devcluster.progress import Silent
from tierline_devcluster.supervising.state import StateDir
from tierline_devcluster.supervising.supervision import start_supervisor
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell inherit it ignored
start_supervisor(StateDir(Path(sys.argv[1])), detach=sys.argv[2] == "detach", reporter=Silent())
print("ready", flush=True)
time.sleep(600)
"""


class Steps(Silent):
    def __init__(self):
        self.seen = []

    def begin(self, title):
        self.seen.append(("begin", title))

    def end(self, title, ok):
        self.seen.append(("end", title))


@pytest.fixture
def state(tmp_path):
    state = StateDir(tmp_path / "state")
    for folder in (state.root, state.logs, state.pods):
        folder.mkdir()
    yield state
    stop_supervisor(state)


def _server(name, stage):
    port = free_ports(1)[0]
    argv = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    return Component(name=name, argv=argv, ready=(ReadyCheck(port, "/"),), stage=stage, stop_s=0.0)


def _command(name, script, stage=5, deadline_s=20.0, stop_s=0.0):
    check = ReadyCheck(free_ports(1)[0], "/")
    return Component(name, ("sh", "-c", script), (check,), stage, deadline_s, stop_s)


def _plan(state, *components):
    Plan(components, log_dir=str(state.logs), pod_root=str(state.pods)).save(state.plan)


def _all_gone(state):
    return wait_until_gone(state.processes(), timeout_s=10) == []


def _await(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


def test_a_component_that_may_die_is_started_again_and_not_for_ever(state):
    _plan(state, msgspec.structs.replace(_server("store", 0), restarts=1))
    start_supervisor(state, detach=False, reporter=Silent())
    first = state.processes()[-1]
    first.send(signal.SIGKILL)
    _await(lambda: state.processes()[-1] != first)
    state.processes()[-1].send(signal.SIGKILL)
    _await(lambda: state.report().phase == "failed")
    assert "store ended" in state.report().message


def test_stages_start_in_order_and_end_together(state):
    _plan(state, _server("late", 1), _server("early", 0))
    steps = Steps()
    start_supervisor(state, detach=False, reporter=steps)
    assert steps.seen == [(kind, f"start {name}") for name in ("early", "late") for kind in ("begin", "end")]
    assert inspect(state).phase == "ready"
    assert [record.name for record in state.processes()] == ["supervisor", "early", "late"]
    assert stop_supervisor(state)
    assert _all_gone(state)
    assert inspect(state).phase == "stopped"
    assert not stop_supervisor(state)


def test_a_component_that_ends_at_once_is_named_with_its_log(state):
    _plan(state, _server("good", 0), _command("bad", "echo broken; exit 7"))
    steps = Steps()
    with pytest.raises(ClusterFailed, match=r"bad ended with exit code 7; log: .*bad\.log"):
        start_supervisor(state, detach=False, reporter=steps)
    assert steps.seen[-1] == ("end", "start bad")
    assert (state.logs / "bad.log").read_text() == "broken\n"
    assert _all_gone(state)
    assert inspect(state).phase == "failed"


def test_a_component_that_is_never_ready_is_named(state):
    _plan(state, _command("slow", "exec sleep 600", deadline_s=0.3))
    with pytest.raises(ClusterFailed, match="slow was not ready in 0 s"):
        start_supervisor(state, detach=False, reporter=Silent())
    assert _all_gone(state)


def test_a_component_that_ends_later_ends_the_cluster_and_is_reported(state):
    _plan(state, _server("one", 0), _server("two", 0))
    start_supervisor(state, detach=False, reporter=Silent())
    os.kill(state.processes()[2].pid, signal.SIGKILL)
    assert _all_gone(state)
    _await(lambda: inspect(state).phase == "failed")
    assert inspect(state).message.startswith("two ended with exit code -9; log:")


def test_a_killed_supervisor_takes_its_children_along(state):
    _plan(state, _server("one", 0), _server("two", 0))
    supervisor = start_supervisor(state, detach=True, reporter=Silent())
    supervisor.kill()
    supervisor.wait()
    assert _all_gone(state)
    assert inspect(state).phase == "killed"


@pytest.mark.parametrize("last_signal", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_cluster_ends_with_its_parent(state, last_signal):
    _plan(state, _server("one", 0))
    parent = _parent(state, "attached")
    parent.send_signal(last_signal)
    parent.wait()
    assert _all_gone(state)
    _await(lambda: inspect(state).phase == "stopped")


def test_a_detached_cluster_outlives_its_parent(state):
    _plan(state, _server("one", 0))
    parent = _parent(state, "detach")
    parent.kill()
    parent.wait()
    assert all(record.is_alive() for record in state.processes())
    assert stop_supervisor(state)
    assert _all_gone(state)


def test_what_lives_in_the_pods_folder_ends_with_the_cluster(state):
    _plan(state, _server("one", 0))
    start_supervisor(state, detach=False, reporter=Silent())
    with subprocess.Popen(["sleep", "600"], env={"HOME": str(state.pods / "pod")}) as stray:
        stop_supervisor(state)
        assert stray.wait(10) == -signal.SIGKILL


def test_who_reads_logs_in_the_pods_folder_lives_on(state, tmp_path):
    _plan(state, _server("one", 0))
    start_supervisor(state, detach=False, reporter=Silent())
    state.pods.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["sleep", "600"], env={"HOME": str(tmp_path)}, cwd=state.pods) as reader:
        stop_supervisor(state)
        assert reader.poll() is None
        reader.kill()


def test_a_component_with_time_to_stop_is_asked_first(state, tmp_path):
    last_word = tmp_path / "last-word"
    port = free_ports(1)[0]
    script = (
        f"trap 'echo bye > {last_word}; kill $server; exit' TERM\n"
        f"{sys.executable} -m http.server {port} --bind 127.0.0.1 & server=$!\n"
        "wait $server"
    )
    _plan(state, Component("polite", ("sh", "-c", script), (ReadyCheck(port, "/"),), 0, stop_s=10.0))
    start_supervisor(state, detach=False, reporter=Silent())
    stop_supervisor(state)
    assert last_word.read_text() == "bye\n"


def _parent(state, mode):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(state.root), mode], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"ready\n"
    parent.stdout.close()
    return parent
