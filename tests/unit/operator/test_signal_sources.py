import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from tierline.api.names import GATEWAY_ADMIN_PORT, WORKER_HTTP_PORT
from tierline.fleet.scaling.signals import Reading
from tierline_operator.capacity.fallback import FallbackSource
from tierline_operator.capacity.prometheus_source import PrometheusSource
from tierline_operator.capacity.sources import FleetPods, PodSource, SourceSilent

NOW_MS = int(time.time() * 1000)
FLEET = FleetPods(("demo", "chat"), {"gw-1": "127.9.8.7"}, {"w-1": "127.9.8.8", "w-2": "127.9.8.9"})
GATEWAY = """# TYPE tierline_gateway_requests counter
tierline_gateway_requests_total{outcome="ok",tenant="t",tier="gold"} 7.0
# TYPE tierline_gateway_moves counter
tierline_gateway_moves_total{cause="x"} 1.0
"""
WORKER = """# TYPE tierline_worker_latency_samples counter
tierline_worker_latency_samples_total{engine="0",model_name="m"} 99.0
"""


@asynccontextmanager
async def serving(answer: Callable[[web.Request], web.Response], host: str, port: int = 0) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://{host}:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


def text(content: str) -> Callable[[web.Request], web.Response]:
    return lambda _request: web.Response(text=content)


def prometheus(age_s: float, *series: tuple[dict[str, str], float]) -> Callable[[web.Request], web.Response]:
    def answer(request: web.Request) -> web.Response:
        newest = request.query["query"].startswith("max(timestamp")
        told = [({}, NOW_MS / 1000 - age_s)] if newest else list(series)
        result = [{"metric": labels, "value": [NOW_MS / 1000, str(value)]} for labels, value in told]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    return answer


def series(name: str, value: float, pod: str = "gw-1", **labels: str) -> tuple[dict[str, str], float]:
    return {"__name__": name, "namespace": "demo", "pod": pod, "job": "pods", **labels}, value


async def test_pods_are_asked_themselves_and_a_worker_that_is_silent_is_left_out():
    async with (
        serving(text(GATEWAY), "127.9.8.7", GATEWAY_ADMIN_PORT),
        serving(text(WORKER), "127.9.8.8", WORKER_HTTP_PORT),
    ):
        reading = (await PodSource().read([FLEET], NOW_MS))["demo", "chat"]
    assert {(it.pod, it.name, it.value) for it in reading.samples} == {
        ("gw-1", "tierline_gateway_requests_total", 7.0),
        ("w-1", "tierline_worker_latency_samples_total", 99.0),
    }
    assert reading.samples[0].label("tier") == "gold"


async def test_a_fleet_of_which_a_gateway_is_silent_or_has_no_gateway_is_left_out():
    assert await PodSource().read([FLEET], NOW_MS) == {}
    assert await PodSource().read([FleetPods(("demo", "new"), {}, {})], NOW_MS) == {}


async def test_of_a_gateway_that_serves_several_models_each_fleet_gets_its_own_figures():
    shared = GATEWAY.replace('outcome="ok"', 'model="code",outcome="ok"') + (
        '# TYPE tierline_gateway_queue_requests gauge\ntierline_gateway_queue_requests{model="chat",tier="gold"} 2.0\n'
    )
    gateways = {"gw-1": "127.9.8.7"}
    fleets = [FleetPods(("demo", name), gateways, {}, model=name) for name in ("chat", "code")]
    async with serving(text(shared), "127.9.8.7", GATEWAY_ADMIN_PORT):
        readings = await PodSource().read(fleets, NOW_MS)
    told = {fleet: [(it.name, it.value) for it in reading.samples] for (_, fleet), reading in readings.items()}
    assert told == {
        "chat": [("tierline_gateway_queue_requests", 2.0)],
        "code": [("tierline_gateway_requests_total", 7.0)],
    }


async def test_prometheus_tells_the_same_samples_whatever_labels_it_adds():
    told = (
        series("tierline_gateway_requests_total", 7.0, tier="gold", tenant="t", outcome="ok", instance="x"),
        series("tierline_worker_latency_samples_total", 99.0, "w-1"),
        series("tierline_gateway_requests_total", 1.0, "somebody-elses"),
    )
    async with serving(prometheus(5.0, *told), "127.0.0.1") as url:
        reading = (await PrometheusSource(url).read([FLEET], NOW_MS))["demo", "chat"]
    assert [(it.pod, it.name, it.value) for it in reading.samples] == [
        ("gw-1", "tierline_gateway_requests_total", 7.0),
        ("w-1", "tierline_worker_latency_samples_total", 99.0),
    ]
    assert dict(reading.samples[0].labels) == {"tier": "gold", "tenant": "t", "outcome": "ok"}


async def test_old_samples_are_no_signals():
    told = series("tierline_gateway_requests_total", 7.0, tier="gold")
    async with serving(prometheus(61.0, told), "127.0.0.1") as url:
        with pytest.raises(SourceSilent, match="stale: the newest is 61 s old"):
            await PrometheusSource(url).read([FLEET], NOW_MS)


@pytest.mark.parametrize("status", [200, 503])
async def test_a_prometheus_that_is_down_or_talks_nonsense_is_silent(status):
    async with serving(lambda _request: web.Response(status=status, text="oops"), "127.0.0.1") as url:
        with pytest.raises(SourceSilent, match="does not answer"):
            await PrometheusSource(url).read([FLEET], NOW_MS)
    with pytest.raises(SourceSilent, match="does not answer"):
        await PrometheusSource(url).read([FLEET], NOW_MS)


class Told:
    """A source that knows some fleets, or none and says why."""

    def __init__(self, name, *fleets, silent=""):
        self.name = name
        self._fleets = fleets
        self._silent = silent

    async def read(self, fleets, now_ms):
        if self._silent:
            raise SourceSilent(self._silent)
        return {
            it.key: Reading(now_ms, (), self.name) for it in fleets if it.key in self._fleets and not it.blacked_out
        }


HIDDEN, OTHER = replace(FLEET, blacked_out=True), FleetPods(("demo", "other"), {"gw-2": "127.9.8.6"}, {})


@pytest.mark.parametrize(
    ("first", "second", "asked", "told"),
    [
        (Told("A", FLEET.key, OTHER.key), Told("B", FLEET.key), [FLEET, OTHER], {"chat": "A", "other": "A"}),
        (Told("A", FLEET.key), Told("B", OTHER.key), [FLEET, OTHER], {"chat": "A", "other": "B"}),
        (Told("A", FLEET.key, OTHER.key), Told("B", FLEET.key), [HIDDEN, OTHER], {"chat": "B", "other": "A"}),
        (Told("A", silent="away"), Told("B", FLEET.key), [FLEET, OTHER], {"chat": "B"}),
        (Told("A", silent="away"), Told("B"), [], {}),
    ],
)
async def test_the_second_source_tells_what_the_first_cannot(first, second, asked, told):
    readings = await FallbackSource(first, second).read(asked, NOW_MS)
    assert {name: reading.source for (_, name), reading in readings.items()} == told


async def test_when_both_are_silent_the_reason_is_the_first_ones():
    with pytest.raises(SourceSilent, match="away; the B do not answer either"):
        await FallbackSource(Told("A", silent="away"), Told("B")).read([FLEET], NOW_MS)


async def test_a_fleet_that_a_drill_hides_is_told_of_by_no_single_source():
    async with serving(text(GATEWAY), "127.9.8.7", GATEWAY_ADMIN_PORT):
        assert await PodSource().read([HIDDEN], NOW_MS) == {}
