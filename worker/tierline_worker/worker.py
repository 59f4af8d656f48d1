"""One worker's life: load, serve, drain, end."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from aiohttp import web

from tierline.artifacts import OpenedWeights
from tierline_worker.adapters.loading import AdapterFormat, AdapterLoader
from tierline_worker.assembly import build_engine
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.loop import EngineLoop
from tierline_worker.engine.messages import DrainRequested, Outgoing
from tierline_worker.engine.snapshot import Snapshot
from tierline_worker.errors import SettingsError
from tierline_worker.gateways.server import GatewayServer
from tierline_worker.http_server import Probe, Probes, serve_http
from tierline_worker.metrics import LoadSample, WorkerMetrics
from tierline_worker.parallel.group import RankLost
from tierline_worker.parallel.loading import load_on_ranks
from tierline_worker.parallel.ranks import Ranks
from tierline_worker.settings import WorkerSettings
from tierline_worker.weights_report import report_weights

_LOG = logging.getLogger(__name__)
_LOADING = Probe("the model is being loaded")

T = TypeVar("T")


class Worker:
    """Holds the parts together and answers the probes."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._metrics = WorkerMetrics(settings.model_name)
        self._progress = Progress(settings.stall_seconds)
        self._engine: Engine | None = None
        self._server: GatewayServer | None = None
        self._adapters: AdapterLoader | None = None
        self._draining = False
        self._stop = asyncio.Event()
        self._drained = asyncio.Event()
        self._ranks: Ranks | None = None
        self._weights: OpenedWeights | None = None
        self._reporting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until a signal, then drain; returns when the process may end.

        Raises what loading raises, and `RankLost` when tensor parallelism breaks.
        """
        began_s = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        runner = await self._serve_probes()
        stopping = asyncio.create_task(self._stop.wait())
        if self._settings.node_keeps_weights:
            self._reporting = asyncio.create_task(report_weights(self._settings.weights, self._metrics.cached))
        lost: asyncio.Future[None] = loop.create_future()
        loading = _in_thread(lambda: self._load(lambda reason: _fail_soon(loop, lost, reason)))
        await _first_of(loading, stopping, lost)
        if loading.done():
            engine, adapter_format = loading.result()
            engine_loop = await self._serve_gateways(engine)
            self._adapters = self._adapter_loader(adapter_format, engine_loop)
            _LOG.info("ready after %.1f s", time.monotonic() - began_s)
            await self._serve_until_stopped(engine_loop, stopping, lost)
        stopping.cancel()
        if self._reporting is not None:
            self._reporting.cancel()
        if self._ranks is not None:
            self._ranks.close()
        await runner.cleanup()

    def _load(self, on_lost: Callable[[str], None]) -> tuple[Engine, AdapterFormat]:
        loaded, self._ranks = load_on_ranks(self._settings, on_lost)
        # Held until the process ends: what is in use is never evicted.
        self._weights = loaded.weights
        self._metrics.started(loaded.weights.warm)
        return build_engine(self._settings, loaded, self._metrics, self._progress), loaded.adapter_format

    def _adapter_loader(self, fits: AdapterFormat, engine_loop: EngineLoop) -> AdapterLoader:
        settings = self._settings
        return AdapterLoader(
            fits, engine_loop.post, settings.weights, settings.adapter_sources, taken=settings.model_name
        )

    async def _serve_probes(self) -> web.AppRunner:
        probes = Probes(self._startup, self._ready, self._live, self._render_metrics)
        try:
            return await serve_http(probes, lambda: self._adapters, self._settings.bind_host, self._settings.http_port)
        except OSError as error:
            raise self._cannot_listen("TIERLINE_HTTP_PORT", error) from error

    async def _serve_gateways(self, engine: Engine) -> EngineLoop:
        loop = asyncio.get_running_loop()
        engine_loop = EngineLoop(engine)
        server = GatewayServer(engine_loop.post, self._healthy, self._metrics.gateways_dropped.inc)
        try:
            await server.start(self._settings.bind_host, self._settings.wire_port)
        except OSError as error:
            raise self._cannot_listen("TIERLINE_WIRE_PORT", error) from error

        def emit(outgoing: list[Outgoing]) -> None:
            loop.call_soon_threadsafe(server.deliver, outgoing)

        def drained() -> None:
            loop.call_soon_threadsafe(self._drained.set)

        engine_loop.start(emit, drained)
        self._engine, self._server = engine, server
        return engine_loop

    async def _serve_until_stopped(
        self, engine_loop: EngineLoop, stopping: asyncio.Task[Literal[True]], lost: asyncio.Future[None]
    ) -> None:
        assert self._server is not None
        heartbeat = asyncio.create_task(self._server.heartbeat())
        await _first_of(stopping, lost)
        await _first_of(asyncio.create_task(self._drain(engine_loop)), lost)
        heartbeat.cancel()
        await self._server.close()

    async def _drain(self, engine_loop: EngineLoop) -> None:
        self._draining = True
        seconds = self._settings.drain_seconds
        _LOG.info("draining for up to %d s", seconds)
        engine_loop.post(DrainRequested(seconds * 1000, "the worker was told to end"))
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            _LOG.warning("the drain deadline passed, gateways continue the remaining streams elsewhere")

    def _healthy(self) -> bool:
        return not self._progress.stalled(time.monotonic())

    def _startup(self) -> Probe:
        return Probe() if self._engine is not None else _LOADING

    def _ready(self) -> Probe:
        if self._engine is None:
            return _LOADING
        return Probe("draining" if self._draining else "")

    def _live(self) -> Probe:
        stalled_s = self._progress.stalled_s(time.monotonic())
        if stalled_s <= self._settings.stall_seconds:
            return Probe()
        return Probe(f"there is work, but no iteration gave a result for {stalled_s:.0f} s")

    def _render_metrics(self) -> bytes:
        sample = LoadSample(
            load=self._engine.snapshot if self._engine is not None else Snapshot(),
            gateways=self._server.gateways if self._server is not None else 0,
            draining=self._draining,
            stalled_s=self._progress.stalled_s(time.monotonic()),
            now_s=time.time(),
        )
        return self._metrics.render(sample)

    def _cannot_listen(self, variable: str, error: OSError) -> SettingsError:
        return SettingsError(f"{variable}: cannot listen on {self._settings.bind_host} ({error}); choose a free port")


async def _first_of(*awaited: asyncio.Future[Any]) -> None:
    """Wait until one of `awaited` is done; raises what the last of them raises if it is that one."""
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    if awaited[-1].done():
        awaited[-1].result()


def _fail_soon(loop: asyncio.AbstractEventLoop, lost: asyncio.Future[None], reason: str) -> None:
    """Let `lost` fail, from any thread."""
    loop.call_soon_threadsafe(lambda: None if lost.done() else lost.set_exception(RankLost(reason)))


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a daemon thread: a load that hangs must not keep a worker from ending on a signal."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(action: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(lambda: None if future.done() else action())

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 handed to whoever awaits
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=run, name="load", daemon=True).start()
    return future
