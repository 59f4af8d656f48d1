"""How pods go: hooks, grace, force."""

import asyncio
import time
from pathlib import Path

import pytest
from cluster_client import Namespace, container, eventually, is_ready, python

pytestmark = pytest.mark.controlplane

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"


def process_of(pod: dict) -> int:
    return int(container(pod["status"])["containerID"].removeprefix("process://"))


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_the_hook_runs_before_the_signal_and_the_process_may_finish(namespace: Namespace, tmp_path: Path) -> None:
    story = tmp_path / "story"
    code = f"""
import signal, sys, time
def end(*_):
    with open({str(story)!r}, 'a') as f: f.write('term ')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('up')
time.sleep(600)
"""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", f"sleep 0.5; printf 'hook ' >> {story}"]}}}
    await namespace.run("tidy", python(code, lifecycle=hook))
    await namespace.until("tidy", is_ready)
    await said(namespace, "tidy", "up")
    await namespace.delete("tidy")
    await namespace.gone("tidy", 5)
    assert story.read_text() == "hook term "


async def said(namespace: Namespace, name: str, word: str) -> None:
    async def spoken() -> bool:
        return word in (await namespace.kubectl("logs", name)).stdout

    await eventually(spoken, what=f"{name} says {word}")


async def test_who_ignores_the_signal_is_killed_after_the_grace_period(namespace: Namespace) -> None:
    await namespace.run("stubborn", python(STUBBORN), terminationGracePeriodSeconds=2)
    pod = await namespace.until("stubborn", is_ready)
    await said(namespace, "stubborn", "up")
    begin = time.monotonic()
    await namespace.delete("stubborn")
    await namespace.gone("stubborn", 20)
    assert time.monotonic() - begin > 1.5
    assert not alive(process_of(pod))


async def test_a_hook_that_never_ends_counts_into_the_grace_period(namespace: Namespace) -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "600"]}}}
    await namespace.run("hooked", python(STUBBORN, lifecycle=hook), terminationGracePeriodSeconds=1)
    await namespace.until("hooked", is_ready)
    await namespace.delete("hooked")
    # Were the grace period to begin after the hook, this would take the hook's ten minutes.
    await namespace.gone("hooked", 20)


async def test_a_forced_deletion_ends_the_process_though_the_object_is_gone_at_once(namespace: Namespace) -> None:
    await namespace.run("forced", python(STUBBORN), terminationGracePeriodSeconds=60)
    pod = await namespace.until("forced", is_ready)
    await namespace.delete("forced", gracePeriodSeconds=0)
    assert await namespace.pod("forced") is None

    async def dead() -> bool:
        return not alive(process_of(pod))

    await eventually(dead, 5, "the process is gone")


async def test_grandchildren_in_sessions_of_their_own_end_with_the_container(
    namespace: Namespace, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    code = f"""
import subprocess, time
child = subprocess.Popen(['sleep', '600'], start_new_session=True)
open({str(note)!r}, 'w').write(str(child.pid))
print('up')
time.sleep(600)
"""
    await namespace.run("parent", python(code))
    await said(namespace, "parent", "up")
    grandchild = int(note.read_text())
    assert alive(grandchild)
    await namespace.delete("parent")

    async def dead() -> bool:
        return not alive(grandchild)

    await eventually(dead, 5, "the grandchild is gone")


async def test_many_pods_go_together(namespace: Namespace) -> None:
    names = [f"many-{index}" for index in range(8)]
    await asyncio.gather(*(namespace.run(name, python("import time; time.sleep(600)")) for name in names))
    pods = await asyncio.gather(*(namespace.until(name, is_ready) for name in names))
    assert len({pod["status"]["podIP"] for pod in pods}) == len(names)
    await asyncio.gather(*(namespace.delete(name) for name in names))
    await asyncio.gather(*(namespace.gone(name) for name in names))
    assert not any(alive(process_of(pod)) for pod in pods)
