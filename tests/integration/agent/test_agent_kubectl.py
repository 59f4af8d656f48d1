"""kubectl logs and exec reach the agent through the API server."""

import asyncio
import ssl

import aiohttp
import pytest
from cluster_client import Namespace, container, eventually, is_ready, python, sleeper

from tierline_devcluster.cluster import RunningCluster
from tierline_devcluster.nodes import AgentConfig
from tierline_devcluster.supervising.state import StateDir

pytestmark = pytest.mark.controlplane


async def test_logs_tail_and_limit(namespace: Namespace) -> None:
    code = "import sys; [print('line', i) for i in range(5000)]; print('oops', file=sys.stderr)"
    await namespace.run("talks", python(code), restartPolicy="Never")
    await namespace.until("talks", lambda status: status.get("phase") == "Succeeded")
    everything = await namespace.kubectl("logs", "talks")
    assert everything.stdout.splitlines()[0] == "line 0"
    assert len(everything.stdout.splitlines()) == 5001
    tail = await namespace.kubectl("logs", "talks", "--tail=2")
    assert tail.stdout.splitlines() == ["line 4999", "oops"]
    limited = await namespace.kubectl("logs", "talks", "--limit-bytes=6")
    assert limited.stdout == "line 0"


async def test_logs_follow_until_the_end(namespace: Namespace) -> None:
    code = "import time\nfor i in range(5): print('tick', i); time.sleep(0.3)"
    await namespace.run("ticks", python(code), restartPolicy="Never")
    await namespace.until("ticks", lambda status: container(status).get("started"))
    followed = await namespace.kubectl("logs", "-f", "ticks")
    assert followed.stdout.split() == [word for i in range(5) for word in ("tick", str(i))]


async def test_the_log_of_the_previous_run_is_kept(namespace: Namespace) -> None:
    await namespace.run("again", python("import os; print('run', os.getpid()); raise SystemExit(1)"))
    pod = await namespace.until("again", lambda status: container(status).get("restartCount", 0) >= 1)
    before = container(pod["status"])["lastState"]["terminated"]["containerID"].removeprefix("process://")

    async def seen() -> bool:
        logs = await namespace.kubectl("logs", "again", "--previous")
        current = await namespace.kubectl("logs", "again")
        return logs.stdout.startswith("run ") and current.stdout.startswith("run ") and logs.stdout != current.stdout

    await eventually(seen, what="two runs have logs")
    assert before.isdigit()


async def test_exec_runs_in_the_container_with_input_output_and_exit_code(namespace: Namespace) -> None:
    await namespace.run("shell", sleeper(env=[{"name": "COLOUR", "value": "blue"}]))
    await namespace.until("shell", is_ready)
    shown = await namespace.kubectl("exec", "shell", "--", "sh", "-c", "echo $COLOUR; echo err >&2; exit 3")
    assert (shown.stdout, shown.returncode) == ("blue\n", 3)
    assert "err" in shown.stderr
    fed = await namespace.kubectl("exec", "-i", "shell", "--", "wc", "-c", stdin="x" * 200_000)
    assert fed.stdout.strip() == "200000"
    missing = await namespace.kubectl("exec", "shell", "--", "no-such-program")
    assert missing.returncode != 0
    assert "no-such-program" in missing.stderr


async def test_a_command_ends_when_its_client_leaves(namespace: Namespace) -> None:
    await namespace.run("left", sleeper())
    await namespace.until("left", is_ready)
    argv = namespace.kubectl_argv("exec", "left", "--", "sh", "-c", "echo $$; sleep 555")
    client = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    assert client.stdout is not None
    pid = int(await client.stdout.readline())
    client.kill()
    await client.wait()

    async def dead() -> bool:
        return not (await asyncio.to_thread(process_exists, pid))

    await eventually(dead, 5, "the command is gone")


def process_exists(pid: int) -> bool:
    from pathlib import Path

    return Path(f"/proc/{pid}").exists()


async def test_nobody_but_the_api_server_is_served(namespace: Namespace, cluster: RunningCluster) -> None:
    config = AgentConfig.load(StateDir(cluster.state_dir).agent_config)
    context = ssl.create_default_context(cafile=config.client_ca)
    url = f"https://127.0.0.1:{config.kubelet_port}/containerLogs/{namespace.name}/a/b"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(url, ssl=context)
        async with session.get(url, ssl=namespace.api.access.ssl_context()) as answer:
            assert answer.status == 403
