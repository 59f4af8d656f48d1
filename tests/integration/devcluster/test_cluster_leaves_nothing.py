"""Whole clusters through the command line, beside the session's own control plane: nothing of them is ever left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from kubernetes import client, config

from tierline.artifacts import default_cache_dir
from tierline_devcluster.provision.binaries import cached_folder
from tierline_devcluster.supervising.inspection import inspect
from tierline_devcluster.supervising.processes import processes_living_in, wait_until_gone
from tierline_devcluster.supervising.state import StateDir

pytestmark = pytest.mark.controlplane

NOBODY = 65534
HANGS_S = 60.0
"""Waits that bound no promise: they find hangs, on machines of any speed."""

POD = {
    "metadata": {"name": "sleeper"},
    "spec": {
        "containers": [
            {"name": "main", "image": "none", "command": ["sh", "-c", "sleep 601 & exec sleep 602"]},
        ],
        "terminationGracePeriodSeconds": 1,
    },
}


@pytest.fixture
def environment(short_folder):
    """The environment of a user who has nothing but ready programs."""
    assets = os.environ.get("KUBEBUILDER_ASSETS") or str(cached_folder(default_cache_dir(os.environ).absolute()))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(short_folder),
        "TIERLINE_CACHE_DIR": str(short_folder / "cache"),
        "KUBEBUILDER_ASSETS": assets,
    }


@pytest.fixture
def short_folder():
    # Not pytest's own folder: that one is closed to other users.
    with tempfile.TemporaryDirectory(prefix="tierline-") as folder:
        yield Path(folder)


@pytest.fixture
def state(short_folder):
    return StateDir(short_folder / "cache" / "devcluster" / "dev")


def _command(*arguments, user=None):
    as_user = []
    if user is not None and os.geteuid() == 0:
        # Reading is all that this user needs of the owner's rights: the checkout may lie in the owner's home.
        reading = "+dac_read_search"
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        as_user += [f"--inh-caps={reading}", f"--ambient-caps={reading}"]
    # A shell lets what it starts in the background ignore Ctrl-C, and so would this.
    hearing = ["env", "--default-signal=INT"]
    return [*as_user, *hearing, sys.executable, "-m", "tierline_devcluster.main", *arguments]


def _run(*arguments, environment):
    return subprocess.run(_command(*arguments), env=environment, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def _held(*arguments, environment, user=None):
    with subprocess.Popen(
        _command("up", *arguments, user=user),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=environment["HOME"],
    ) as held:
        try:
            said = []
            for line in held.stdout:
                said.append(line)
                if line.startswith("Ctrl-C"):
                    break
            else:
                pytest.fail("up ended early:\n" + "".join(said))
            yield held
        finally:
            held.kill()


def _start_pod(state):
    core = client.CoreV1Api(config.new_client_from_config(config_file=str(state.kubeconfig)))
    core.create_namespaced_pod("default", POD)
    _await(lambda: core.read_namespaced_pod("sleeper", "default").status.phase == "Running")
    assert processes_living_in(state.pods)


def _await(condition, timeout_s=HANGS_S):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)


def _nothing_left(state):
    left = wait_until_gone([*state.processes(), *processes_living_in(state.pods)], timeout_s=HANGS_S)
    return left == [] and processes_living_in(state.pods) == []


def _answers(control_plane):
    api = config.new_client_from_config(config_file=str(control_plane.kubeconfig))
    return client.CoreV1Api(api).read_namespace("default").status.phase == "Active"


def test_killed_parent_and_supervisor_take_cluster_and_pods_along(control_plane, environment, state):
    with _held("--nodes", "spot:zone-a:1", environment=environment) as held:
        _start_pod(state)
        os.kill(state.living_supervisor().pid, signal.SIGKILL)
        held.kill()
        held.wait()
        assert _nothing_left(state)
    assert inspect(state).phase == "killed"
    assert _answers(control_plane)


def test_down_ends_what_up_started_and_a_running_name_is_refused(control_plane, environment, state):
    up = _run("up", "--detach", "--nodes", "on-demand:zone-a:1", environment=environment)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"export KUBECONFIG={state.kubeconfig}" in up.stdout
    _start_pod(state)
    again = _run("up", "--detach", environment=environment)
    assert again.returncode == 1
    assert "already runs" in again.stderr
    status = json.loads(_run("status", "--json", environment=environment).stdout)
    assert status["phase"] == "ready"
    assert all(process["alive"] for process in status["processes"])
    assert _run("down", environment=environment).stdout == "cluster dev ended\n"
    assert _nothing_left(state)
    assert _answers(control_plane)


def test_a_plain_user_gets_a_cluster_and_ctrl_c_ends_it(control_plane, environment, state, short_folder):
    environment["KUBEBUILDER_ASSETS"] = str(_copied(Path(environment["KUBEBUILDER_ASSETS"]), short_folder))
    _give_to_nobody(short_folder)
    with _held("--nodes", "spot:zone-a:1", environment=environment, user=NOBODY) as held:
        _start_pod(state)
        if os.geteuid() == 0:
            owners = {Path(f"/proc/{record.pid}").stat().st_uid for record in state.processes()}
            assert owners == {NOBODY}
        held.send_signal(signal.SIGINT)
        assert held.wait(HANGS_S) == 0
        assert _nothing_left(state)
    assert _answers(control_plane)


def _copied(assets, folder):
    # The given programs may lie where the plain user must not look.
    return shutil.copytree(assets, folder / "assets", copy_function=_link_or_copy)


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _give_to_nobody(folder):
    if os.geteuid() == 0:
        shutil.chown(folder, NOBODY, NOBODY)
