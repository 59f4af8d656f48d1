"""Samples of the workers while the load runs, from their metrics."""

import asyncio
from collections.abc import Mapping

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tierline.api.names import WORKER_HTTP_PORT
from tierline.telemetry import worker_metrics as names
from tierline.telemetry.records import WorkerSample
from tierline_cli.demo.clock import RunClock
from tierline_cli.demo.cluster_view import ClusterView, PodView

PERIOD_SECONDS = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=2)

Reading = Mapping[str, float]


class WorkerSampler:
    """Collects a sample of every worker each second until it is cancelled."""

    def __init__(self, view: ClusterView, session: aiohttp.ClientSession, clock: RunClock, block_tokens: int) -> None:
        self._view = view
        self._session = session
        self._clock = clock
        self._block_tokens = block_tokens
        self._former: dict[str, tuple[float, float]] = {}
        self.samples: list[WorkerSample] = []

    async def run(self) -> None:
        """Sample until cancelled; a worker that does not answer is left out of that round."""
        while True:
            pods = [pod for pod in await self._view.workers() if pod.address]
            for pod, reading in zip(pods, await asyncio.gather(*map(self._read, pods)), strict=True):
                if reading:
                    self.samples.append(self._sample(pod.name, reading))
            await asyncio.sleep(PERIOD_SECONDS)

    async def _read(self, pod: PodView) -> Reading:
        try:
            url = f"http://{pod.address}:{WORKER_HTTP_PORT}/metrics"
            async with self._session.get(url, timeout=TIMEOUT) as answer:
                return read_metrics(await answer.text()) if answer.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError):
            return {}

    def _sample(self, worker: str, reading: Reading) -> WorkerSample:
        now_ms = self._clock.now_ms()
        used = reading.get(names.KV_BLOCKS_USED, 0.0)
        held = reading.get(names.KV_TOKENS)
        return WorkerSample(
            at_ms=now_ms,
            worker=worker,
            running_requests=int(reading.get(names.REQUESTS_RUNNING, 0)),
            waiting_requests=int(reading.get(names.REQUESTS_WAITING, 0)),
            kv_used_share=reading.get(names.KV_CACHE_USAGE),
            kv_internal_fragmentation=None if not used or held is None else 1 - held / (used * self._block_tokens),
            busy_share=self._busy(worker, now_ms, reading.get(f"{names.BUSY_SECONDS}_total")),
        )

    def _busy(self, worker: str, now_ms: float, busy_s: float | None) -> float | None:
        if busy_s is None:
            return None
        former, self._former[worker] = self._former.get(worker), (now_ms, busy_s)
        if former is None or now_ms <= former[0]:
            return None
        return min((busy_s - former[1]) * 1000 / (now_ms - former[0]), 1.0)


def read_metrics(text: str) -> Reading:
    """Return the value of each series, by name; of several label sets the last."""
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
