"""Runs loads through a worker's engine, without sockets or threads, and notes when each token is there."""

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tierline.bench.protocol import Done, Load, Setup, Stream, StreamTimes
from tierline.wire.credits import blocks_for
from tierline.wire.frames import Cancel, Iteration, Nack, NackReason, Sampling, Submit
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import Cancelled, GatewayJoined, Outgoing, Submitted
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

GATEWAY = 1
BLOCK_TOKENS = 16


def make_engine(setup: Setup) -> Engine:
    """Return an engine as a worker pod with these settings would have it; raises what loading raises."""
    settings = WorkerSettings.from_env({**os.environ, **environment(setup)})
    engine = build_engine(settings, load(settings), WorkerMetrics("bench"), Progress(600.0))
    engine.handle(GatewayJoined(GATEWAY))
    return engine


def environment(setup: Setup) -> dict[str, str]:
    """Return the worker's settings for `setup`, as environment variables."""
    return {
        "TIERLINE_MODEL_SOURCE": setup.model,
        "TIERLINE_MODEL_DTYPE": setup.dtype,
        "TIERLINE_MODEL_QUANTIZATION": setup.quantization,
        "TIERLINE_THREADS": str(setup.threads),
        "TIERLINE_BLOCK_TOKENS": str(BLOCK_TOKENS),
        "TIERLINE_KV_CACHE_BLOCKS": str(blocks_for(setup.kv_tokens, BLOCK_TOKENS)),
        "TIERLINE_HOST_CACHE_BLOCKS": str(blocks_for(setup.host_tokens, BLOCK_TOKENS)),
        "TIERLINE_MAX_MODEL_TOKENS": str(setup.max_model_tokens),
        "TIERLINE_MAX_RUNNING_REQUESTS": str(setup.max_running_requests),
        "TIERLINE_MAX_BATCHED_TOKENS": str(setup.max_batched_tokens),
        "TIERLINE_MAX_DRAFT_TOKENS": str(setup.max_draft_tokens),
        "TIERLINE_ADAPTERS": ",".join(f"{Path(folder).name}={folder}" for folder in setup.adapters),
        "TIERLINE_MAX_ADAPTERS": str(len(setup.adapters)),
        "TIERLINE_MAX_ADAPTER_RANK": str(max(setup.adapter_rank, 1)),
    }


class Driver:
    """Gives an engine one load after another; a request it has no room for waits its turn, as in a gateway."""

    def __init__(self, engine: Engine, adapters: tuple[str, ...] = (), clock: Callable[[], float] = time.perf_counter):
        self._engine = engine
        self._adapters = tuple(Path(folder).name for folder in adapters)
        self._clock = clock
        self._loads = 0

    def run(self, load: Load) -> Done:
        """Run `load`; raises `RuntimeError` when the engine refuses or fails one of its streams."""
        self._loads += 1
        run = _Run(self._engine, load, f"load{self._loads}", self._adapters, self._clock)
        before = dataclasses.asdict(self._engine.snapshot.counters)
        streams = run.to_the_end()
        after = dataclasses.asdict(self._engine.snapshot.counters)
        return Done(streams, {name: float(after[name] - before[name]) for name in after if after[name] != before[name]})


class _Run:
    def __init__(
        self, engine: Engine, load: Load, name: str, adapters: tuple[str, ...], clock: Callable[[], float]
    ) -> None:
        self._engine, self._load, self._name, self._adapters, self._clock = engine, load, name, adapters, clock
        self._waiting = deque(range(len(load.streams)))
        self._submitted_s = [0.0] * len(load.streams)
        self._token_s: list[list[float]] = [[] for _ in load.streams]
        self._running: set[int] = set()
        self._began_s = clock()

    def to_the_end(self) -> tuple[StreamTimes, ...]:
        self._submit()
        while self._running:
            self._take(self._engine.step())
            self._submit()
            if self._over():
                self._cancel()
        while self._engine.busy:
            self._engine.step()
        pairs = zip(self._submitted_s, self._token_s, strict=True)
        return tuple(StreamTimes(submitted_s, tuple(token_s)) for submitted_s, token_s in pairs)

    def _over(self) -> bool:
        last = self._load.ends_with
        return last >= 0 and len(self._token_s[last]) >= self._load.streams[last].new_tokens

    def _submit(self) -> None:
        """Submit what is due, in order, until the engine has no room."""
        while self._waiting:
            index = self._waiting[0]
            stream = self._load.streams[index]
            if stream.starts_after_tokens > len(self._token_s[0]):
                return
            if not self._submitted_s[index]:
                self._submitted_s[index] = self._clock() - self._began_s
            refused = self._refused(self._engine.handle(Submitted(GATEWAY, self._frame(index, stream))))
            if refused:
                return
            self._waiting.popleft()
            self._running.add(index)

    def _frame(self, index: int, stream: Stream) -> Submit:
        return Submit(
            request_id=f"{self._name}/{index}",
            epoch=1,
            prompt_ids=stream.prompt_ids,
            sampling=Sampling(stream.new_tokens, ignore_eos=True),
            tpot_budget_ms=int(stream.tpot_budget_ms),
            adapter=self._adapters[stream.adapter] if stream.adapter >= 0 else "",
            speculate=stream.speculate,
            save=stream.save,  # type: ignore[arg-type]
        )

    def _refused(self, answers: list[Outgoing]) -> bool:
        for answer in answers:
            match answer.frame:
                case Nack(reason=NackReason.NO_BLOCKS | NackReason.NO_SLOT) if self._running:
                    return True
                case Nack(request_id=name, reason=reason):
                    raise RuntimeError(f"the engine refused {name}: {reason}")
        self._take(answers)
        return False

    def _take(self, outgoing: list[Outgoing]) -> None:
        now_s = self._clock() - self._began_s
        for item in outgoing:
            if isinstance(item.frame, Iteration):
                for batch in item.frame.tokens:
                    index = int(batch.request_id.rpartition("/")[2])
                    if batch.error:
                        raise RuntimeError(batch.error)
                    self._token_s[index] += [now_s] * len(batch.token_ids)
                    if batch.finish_reason:
                        self._running.discard(index)

    def _cancel(self) -> None:
        for index in self._running:
            self._engine.handle(Cancelled(GATEWAY, Cancel(f"{self._name}/{index}", 1)))
        self._running.clear()
        self._waiting.clear()
