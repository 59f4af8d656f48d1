"""Containers that crash, hang or are not ready."""

from pathlib import Path

import pytest
from cluster_client import Namespace, container, eventually, is_ready, python

pytestmark = pytest.mark.controlplane

FAILS_UNTIL = "import pathlib, sys, time; pathlib.Path({flag!r}).exists() or sys.exit(3); time.sleep(600)"


def waiting(status: dict, name: str = "main") -> dict:
    return container(status, name).get("state", {}).get("waiting", {})


async def test_a_crash_backs_off_and_the_pod_recovers(namespace: Namespace, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    await namespace.run("crashes", python(FAILS_UNTIL.format(flag=str(flag))))
    pod = await namespace.until("crashes", lambda status: container(status).get("restartCount", 0) >= 2)
    pod = await namespace.until("crashes", lambda status: waiting(status).get("reason") == "CrashLoopBackOff")
    assert container(pod["status"])["lastState"]["terminated"]["exitCode"] == 3
    assert pod["status"]["phase"] == "Running"
    assert not is_ready(pod["status"])
    flag.touch()
    await namespace.until("crashes", is_ready)
    assert await eventually(lambda: namespace.events("BackOff"), what="a BackOff event")


async def test_death_by_signal_is_reported_with_its_number(namespace: Namespace) -> None:
    await namespace.run("killed", python("import os; os.kill(os.getpid(), 6)"), restartPolicy="Never")
    pod = await namespace.until("killed", lambda status: status.get("phase") == "Failed")
    end = container(pod["status"])["state"]["terminated"]
    assert (end["exitCode"], end["signal"], end["reason"]) == (134, 6, "Error")


async def test_a_command_that_does_not_exist_is_named(namespace: Namespace) -> None:
    missing = {"name": "main", "image": "none", "command": ["no-such-program"]}
    await namespace.run("missing", missing, restartPolicy="Never")
    pod = await namespace.until("missing", lambda status: status.get("phase") == "Failed")
    end = container(pod["status"])["state"]["terminated"]
    assert end["reason"] == "StartError"
    assert "no-such-program" in end["message"]


async def test_a_container_that_stops_answering_is_restarted(namespace: Namespace, tmp_path: Path) -> None:
    flag = tmp_path / "alive"
    flag.touch()
    alive = {"exec": {"command": ["test", "-e", str(flag)]}, "periodSeconds": 1, "failureThreshold": 1}
    await namespace.run("hangs", python("import time; time.sleep(600)", livenessProbe=alive))
    await namespace.until("hangs", is_ready)
    flag.unlink()
    pod = await namespace.until("hangs", lambda status: container(status).get("restartCount", 0) >= 1)
    flag.touch()
    assert container(pod["status"])["lastState"]["terminated"]["exitCode"] == 143
    await namespace.until("hangs", is_ready)
    events = await eventually(lambda: namespace.events("Unhealthy"), what="an Unhealthy event")
    assert "liveness probe failed" in events[0]["message"]


async def test_readiness_follows_its_probe_without_a_restart(namespace: Namespace, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    probe = {"exec": {"command": ["test", "-e", str(flag)]}, "periodSeconds": 1, "failureThreshold": 1}
    await namespace.run("gated", python("import time; time.sleep(600)", readinessProbe=probe))
    pod = await namespace.until("gated", lambda status: container(status).get("started"))
    assert not is_ready(pod["status"])
    flag.touch()
    await namespace.until("gated", is_ready)
    flag.unlink()
    pod = await namespace.until("gated", lambda status: not is_ready(status))
    assert container(pod["status"])["restartCount"] == 0


async def test_a_slow_start_is_not_taken_for_a_hang(namespace: Namespace) -> None:
    slow = """
import os, socket, time
time.sleep(2)
server = socket.create_server((os.environ['TIERLINE_BIND_HOST'], 9000))
while True:
    server.accept()
"""
    tcp = {"tcpSocket": {"port": 9000}, "periodSeconds": 1}
    await namespace.run(
        "slow",
        python(slow, startupProbe={**tcp, "failureThreshold": 10}, livenessProbe={**tcp, "failureThreshold": 1}),
    )
    pod = await namespace.until("slow", is_ready)
    assert container(pod["status"])["restartCount"] == 0
