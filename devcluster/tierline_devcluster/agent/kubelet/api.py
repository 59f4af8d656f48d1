"""The part of the kubelet's HTTPS interface that `kubectl logs` and `kubectl exec` reach through the API server."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from tierline_devcluster.agent.kubelet.exec_stream import PROTOCOLS, ExecRequest, run_exec
from tierline_devcluster.agent.pod.runner import PodRunner
from tierline_devcluster.agent.pods import PodKeeper
from tierline_devcluster.agent.process.logfiles import LogQuery, read_log
from tierline_devcluster.agent.process.processes import LocalProcess, ProcessTable
from tierline_devcluster.nodes import AgentConfig

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def server_ssl(config: AgentConfig) -> ssl.SSLContext:
    """Return a context that admits only clients with a certificate of the cluster's client CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.client_ca)
    context.load_cert_chain(config.serving_cert, config.serving_key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class KubeletApi:
    """Serves logs and exec of the agent's pods to the API server alone."""

    def __init__(self, pods: PodKeeper, table: ProcessTable, pod_root: Path, client_common_name: str) -> None:
        self._pods = pods
        self._table = table
        self._pod_root = pod_root
        self._client = client_common_name

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._only_api_server(self._logs))
        app.router.add_get("/exec/{namespace}/{pod}/{container}", self._only_api_server(self._exec))
        app.router.add_post("/exec/{namespace}/{pod}/{container}", self._only_api_server(self._exec))
        return app

    def _only_api_server(self, handler: Handler) -> Handler:
        """Let nobody else in: any certificate of the client CA gets this far."""

        async def check(request: web.Request) -> web.StreamResponse:
            certificate = request.get_extra_info("peercert") or {}
            if self._client not in common_names(certificate):
                raise web.HTTPForbidden(text=f"only {self._client} may ask the node agent")
            return await handler(request)

        return check

    def _runner(self, request: web.Request) -> PodRunner:
        where = request.match_info
        runner = self._pods.find(where["namespace"], where["pod"])
        if runner is None or runner.pod.container(where["container"]) is None:
            raise web.HTTPNotFound(text=f"no container {where['container']} of pod {where['pod']} on this node")
        return runner

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        runner, name = self._runner(request), request.match_info["container"]
        restart = current_log(runner, name)
        if request.query.get("previous") == "true":
            restart -= 1
        path = self._pod_root / runner.pod.uid / name / f"{restart}.log"
        if not path.exists():
            raise web.HTTPBadRequest(text=f"container {name} has written no such log")
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        process = runner.running.get(name)
        async for chunk in read_log(path, log_query(request), lambda: runner.running.get(name) is process):
            await answer.write(chunk)
        await answer.write_eof()
        return answer

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        runner, name = self._runner(request), request.match_info["container"]
        process = runner.running.get(name)
        if not isinstance(process, LocalProcess):
            raise web.HTTPBadRequest(text=f"container {name} is not running")
        if request.query.get("tty") in ("1", "true"):
            raise web.HTTPBadRequest(text="a terminal is not supported, leave out -t")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPNotImplemented(text="exec needs a client that speaks WebSocket (kubectl 1.31 or later)")
        socket = web.WebSocketResponse(protocols=PROTOCOLS)
        await socket.prepare(request)
        stdin = request.query.get("input") in ("1", "true") or request.query.get("stdin") in ("1", "true")
        wanted = ExecRequest(tuple(request.query.getall("command")), stdin)
        await run_exec(socket, wanted, process, self._table)
        await socket.close()
        return socket


def common_names(certificate: dict[str, object]) -> list[str]:
    """Return the common names of a certificate as `ssl` describes it."""
    subject: object = certificate.get("subject", ())
    assert isinstance(subject, tuple), "the ssl module gives a tuple"
    return [value for part in subject for key, value in part if key == "commonName"]


def current_log(runner: PodRunner, name: str) -> int:
    """Return the number of the newest log: a container that waits for its restart has not begun the next one."""
    restarts = runner.state.containers[name].restarts
    waits = name not in runner.running and runner.state.containers[name].last_exit is not None
    return restarts - 1 if waits and runner.state.containers[name].exit is None else restarts


def log_query(request: web.Request) -> LogQuery:
    """Read kubectl's parameters; raises `HTTPBadRequest` for a number that is none."""
    try:
        return LogQuery(
            tail_lines=_number(request, "tailLines"),
            limit_bytes=_number(request, "limitBytes"),
            follow=request.query.get("follow") == "true",
        )
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"tailLines and limitBytes are whole numbers: {error}") from error


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    return None if text is None else int(text)
