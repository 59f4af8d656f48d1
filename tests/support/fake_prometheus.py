"""A Prometheus that tells of a fleet's gateways and workers what a test wants: traffic at a rate, by the clock."""

import time
from typing import Any

from aiohttp import web
from operator_testing import Objects

from tierline.api.names import GATEWAY_ADMIN_PORT, LABEL_COMPONENT, WORKER_HTTP_PORT

PROMPT_TOKENS, OUTPUT_TOKENS = 100, 10
COEFFICIENTS = {"iteration": 10.0, "prefill_token": 1.0, "attention_pair": 0.0, "decode": 0.1, "kv_token": 0.0}
"""One worker of sixteen slots carries about nine of these requests a second."""


class FakePrometheus:
    """Answers the operator's two queries; `per_second` is the rate of one tier's requests, `queued` those that wait.

    `of_workers` is what every worker tells beside its load: names, labels, values.
    """

    def __init__(self, objects: Objects, tier: str) -> None:
        self._objects = objects
        self._tier = tier
        self._ended = 0.0
        self._counted = time.monotonic()
        self._runner: web.AppRunner | None = None
        self._pods: web.AppRunner | None = None
        self._per_second = 0.0
        self.queued = 0
        self.of_workers: list[tuple[str, dict[str, str], float]] = []
        self.url = ""

    async def start(self) -> "FakePrometheus":
        app = web.Application()
        app.router.add_get("/api/v1/query", self._query)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        """Fall silent, the pods too."""
        for runner in (self._runner, self._pods):
            if runner is not None:
                await runner.cleanup()
        self._runner = self._pods = None

    def send(self, per_second: float) -> None:
        """Let requests come at another rate from now on."""
        self._count()
        self._per_second = per_second

    def _count(self) -> None:
        now = time.monotonic()
        self._ended += self._per_second * (now - self._counted)
        self._counted = now

    async def serve_as_pods(self, host: str) -> None:
        """Tell the same as gateways and workers tell themselves."""
        app = web.Application()
        app.router.add_get("/metrics", self._exposition)
        self._pods = web.AppRunner(app, access_log=None)
        await self._pods.setup()
        for port in (GATEWAY_ADMIN_PORT, WORKER_HTTP_PORT):
            await web.TCPSite(self._pods, host, port).start()

    async def _exposition(self, request: web.Request) -> web.Response:
        self._count()
        told = self._worker() if request.url.port == WORKER_HTTP_PORT else self._gateway()
        lines = (_line(name, labels, value) for name, labels, value in told)
        return web.Response(text="\n".join(lines) + "\n")

    async def _query(self, request: web.Request) -> web.Response:
        if request.query["query"].startswith("max(timestamp"):
            return _answer([_series({}, time.time())])
        self._count()
        pods = await self._objects.every("Pod")
        return _answer([series for pod in pods for series in self._of(pod["metadata"])])

    def _of(self, metadata: dict[str, Any]) -> list[dict[str, Any]]:
        where = {"namespace": self._objects.namespace, "pod": metadata["name"]}
        told = self._worker() if metadata["labels"].get(LABEL_COMPONENT) == "worker" else self._gateway()
        return [_series({**where, "__name__": name, **labels}, value) for name, labels, value in told]

    def _worker(self) -> list[tuple[str, dict[str, str], float]]:
        terms = [("tierline_worker_latency_coefficient_ms", {"term": term}, it) for term, it in COEFFICIENTS.items()]
        return [*terms, ("tierline_worker_latency_samples_total", {}, 1000.0), *self.of_workers]

    def _gateway(self) -> list[tuple[str, dict[str, str], float]]:
        tier = {"tier": self._tier}
        first_tokens = ({**tier, "tenant": "t", "le": le} for le in ("0.1", "+Inf"))
        return [
            ("tierline_gateway_requests_total", {**tier, "tenant": "t", "outcome": "ok"}, self._ended),
            ("tierline_gateway_queue_requests", tier, float(self.queued)),
            ("tierline_gateway_running_requests", {}, 0.0),
            ("tierline_billed_prompt_tokens_total", {"tenant": "t"}, self._ended * PROMPT_TOKENS),
            ("tierline_billed_output_tokens_total", {"tenant": "t"}, self._ended * OUTPUT_TOKENS),
            *(("tierline_ttft_seconds_bucket", labels, self._ended) for labels in first_tokens),
        ]


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}"


def _series(labels: dict[str, str], value: float) -> dict[str, Any]:
    return {"metric": labels, "value": [time.time(), str(value)]}


def _answer(result: list[dict[str, Any]]) -> web.Response:
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})
