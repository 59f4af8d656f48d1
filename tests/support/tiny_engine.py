"""A whole engine around a tiny real model, as a worker assembles it, driven without threads or sockets."""

from pathlib import Path

from tierline.wire.frames import Sampling, Submit, TokenBatch
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.metrics import LoadSample, WorkerMetrics
from tierline_worker.settings import WorkerSettings

GATEWAY = 1


class TinyEngine:
    """Submits requests and steps until they end."""

    def __init__(self, model: Path, **environ: str) -> None:
        settings = WorkerSettings.from_env(
            {
                "TIERLINE_MODEL_SOURCE": str(model),
                "TIERLINE_MODEL_NAME": "tiny",
                "TIERLINE_BLOCK_TOKENS": "4",
                "TIERLINE_KV_CACHE_BLOCKS": "64",
                "TIERLINE_MAX_RUNNING_REQUESTS": "8",
                "TIERLINE_MAX_BATCHED_TOKENS": "64",
                "TIERLINE_MAX_MODEL_TOKENS": "128",
                **environ,
            }
        )
        self.metrics = WorkerMetrics(settings.model_name)
        self.progress = Progress(settings.stall_seconds)
        self.loaded = load(settings)
        self.engine: Engine = build_engine(settings, self.loaded, self.metrics, self.progress)
        self.engine.handle(GatewayJoined(GATEWAY))

    def submit(self, request_id: str, prompt: tuple[int, ...], new_tokens: int, **fields: object) -> None:
        frame = Submit(request_id, 1, prompt, Sampling(new_tokens, ignore_eos=True), **fields)
        self.engine.handle(Submitted(GATEWAY, frame))

    def run(self) -> dict[str, list[TokenBatch]]:
        """Step to the end; returns what each request got."""
        batches: dict[str, list[TokenBatch]] = {}
        while self.engine.busy:
            for item in self.engine.step():
                for batch in item.frame.tokens:
                    batches.setdefault(batch.request_id, []).append(batch)
        return batches

    def scrape(self) -> str:
        return self.metrics.render(LoadSample(self.engine.snapshot, gateways=1)).decode()
