"""The three experiments: time added at a steady rate, thousands of slow streams, as many token events as fit."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import uvloop

from tierline.telemetry.percentiles import nearest_rank
from tierline_cli.bench.gateway.contenders import DIRECT, Bench, Contender
from tierline_cli.bench.gateway.http_client import Exchange
from tierline_cli.bench.gateway.loads import SteadyLoad, run_steady, run_streams
from tierline_cli.errors import CommandFailed

Figures = dict[str, Any]
Tell = Callable[[str], None]

OTHER_EVENTS: Final = 3
"""Of a whole stream: the opening one, the closing one, [DONE]."""
WARM_UP_PER_SECOND: Final = 50.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the experiments are; the defaults are what the goals are stated for."""

    requests_per_second: float = 500.0
    seconds: float = 10.0
    repeats: int = 3
    warm_up_seconds: float = 2.0
    answer_tokens: int = 8
    answer_period_ms: float = 5.0
    streams: int = 5000
    stream_tokens: int = 60
    stream_period_ms: float = 1000.0
    busy_streams: int = 256
    busy_tokens: int = 1000
    busy_period_ms: float = 1.0

    @classmethod
    def small(cls) -> "Sizes":
        """A few seconds each, to see that all works."""
        return cls(requests_per_second=100.0, seconds=2.0, repeats=1, streams=200, stream_tokens=3, busy_tokens=100)


def added_latency(bench: Bench, names: Sequence[str], sizes: Sizes, tell: Tell) -> Mapping[str, Figures]:
    """Return for each of `names` what it adds to the time of an answer, whole and streamed, at a steady rate.

    Percentiles of the time through it minus those of the time without, medians over alternated runs. What stands at the
    top of `added_latency_ms` is that of answers that are not streamed.
    """
    runs: dict[str, list[Figures]] = {name: [] for name in (DIRECT, *names)}
    with ExitStack() as stack:
        contenders = [stack.enter_context(bench.contender(name, sizes.answer_period_ms)) for name in runs]
        for contender in contenders:
            _warm_up(contender, sizes)
        for repetition in range(sizes.repeats):
            for contender in contenders if repetition % 2 == 0 else reversed(contenders):
                runs[contender.name].append(_latencies(contender, sizes))
                tell(f"latency {repetition + 1}: {contender.name} {runs[contender.name][-1]}")
    return {name: _minus(runs[name], runs[DIRECT]) for name in names}


def many_streams(bench: Bench, names: Sequence[str], sizes: Sizes, tell: Tell) -> Mapping[str, Figures]:
    """Return for each of `names` how many slow streams were kept at once, and what each takes of its memory."""
    return {name: _streams_of(bench, name, sizes, tell) for name in names}


def saturation(bench: Bench, names: Sequence[str], sizes: Sizes, tell: Tell) -> Mapping[str, Figures]:
    """Return for each of `names` how many token events a second of one core carries."""
    return {name: {"saturation": _saturation_of(bench, name, sizes, tell)} for name in names}


Experiment = Callable[[Bench, Sequence[str], Sizes, Tell], Mapping[str, Figures]]
EXPERIMENTS: Final[Mapping[str, Experiment]] = MappingProxyType(
    {"rate": added_latency, "streams": many_streams, "saturation": saturation}
)
"""By the name that chooses one; memory is that of the streams."""


def _streams_of(bench: Bench, name: str, sizes: Sizes, tell: Tell) -> Figures:
    """Return how many slow streams were kept at once, how many did not come to their end, and what each takes."""
    with bench.contender(name, sizes.stream_period_ms) as contender:
        assert contender.process is not None, "nothing to measure"
        _warm_up(contender, sizes)
        before, opened = contender.process.resident_bytes(), []

        def note() -> None:
            assert contender.process is not None
            opened.append((contender.process.resident_bytes(), time.monotonic(), contender.process.cpu_seconds()))

        seconds = sizes.stream_tokens * sizes.stream_period_ms / 1000
        exchanges = uvloop.run(run_streams(contender.port, sizes.streams, sizes.stream_tokens, seconds, note))
        (resident, open_s, open_cpu_s), ended_s = opened[0], time.monotonic()
        busy = (contender.process.cpu_seconds() - open_cpu_s) / (ended_s - open_s)
    short = [exchange for exchange in exchanges if not exchange.ok]
    for exchange in short[:3]:
        tell(f"streams: {name} dropped one: {exchange.problem}")
    kept = {
        "concurrent": sizes.streams,
        "seconds": round(seconds, 1),
        "dropped": len(short),
        "core_busy": round(busy, 3),
    }
    return {"streams": kept, "bytes_per_stream": round((resident - before) / sizes.streams)}


def _saturation_of(bench: Bench, name: str, sizes: Sizes, tell: Tell) -> Figures:
    """Return how many token events a second of one core carries when there are always more to send."""
    with bench.contender(name, sizes.busy_period_ms) as contender:
        assert contender.process is not None, "nothing to measure"
        _warm_up(contender, sizes)
        cpu_s, begin_s = contender.process.cpu_seconds(), time.monotonic()
        exchanges = uvloop.run(run_streams(contender.port, sizes.busy_streams, sizes.busy_tokens, 60.0, lambda: None))
        cpu_s, wall_s = contender.process.cpu_seconds() - cpu_s, time.monotonic() - begin_s
    failed = sum(not exchange.ok for exchange in exchanges)
    if failed:
        raise CommandFailed(f"{name}: {failed} of {len(exchanges)} busy streams failed: {_first_problem(exchanges)}")
    events = sum(exchange.events - OTHER_EVENTS for exchange in exchanges)
    figures = {
        "token_events_per_core_second": round(events / cpu_s),
        "token_events_per_second": round(events / wall_s),
        "tokens_per_event": round(sizes.busy_streams * sizes.busy_tokens / events, 2),
        "core_busy": round(cpu_s / wall_s, 3),
    }
    tell(f"saturation: {name} {figures}")
    return figures


def _warm_up(contender: Contender, sizes: Sizes) -> None:
    for stream in (False, True):
        load = SteadyLoad(WARM_UP_PER_SECOND, sizes.warm_up_seconds / 2, 1, stream)
        uvloop.run(run_steady(contender.port, load))


def _latencies(contender: Contender, sizes: Sizes) -> Figures:
    found: Figures = {}
    for stream in (False, True):
        cpu_s = contender.process.cpu_seconds() if contender.process else 0.0
        load = SteadyLoad(sizes.requests_per_second, sizes.seconds, sizes.answer_tokens, stream)
        exchanges = uvloop.run(run_steady(contender.port, load))
        cpu_s = (contender.process.cpu_seconds() if contender.process else 0.0) - cpu_s
        failed = sum(not exchange.ok for exchange in exchanges)
        if failed:
            raise CommandFailed(f"{contender.name}: {failed} requests failed: {_first_problem(exchanges)}")
        kind = "streamed" if stream else "whole"
        found[kind] = _times_ms([exchange.ended_s - exchange.sent_s for exchange in exchanges])
        if stream:
            found["first_token"] = _times_ms([exchange.first_event_s - exchange.sent_s for exchange in exchanges])
        found[f"{kind}_cpu_ms_per_request"] = round(1000 * cpu_s / len(exchanges), 3)
    return found


def _times_ms(times_s: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    return {f"p{percent}": round(nearest_rank(ordered, percent) * 1000, 3) for percent in (50, 99)}


def _minus(through: Sequence[Figures], without: Sequence[Figures]) -> Figures:
    """Return medians of the differences between alternated runs."""

    def added(kind: str) -> Figures:
        pairs = list(zip(through, without, strict=True))
        return {p: round(statistics.median(a[kind][p] - b[kind][p] for a, b in pairs), 3) for p in ("p50", "p99")}

    costs = {
        kind: statistics.median(run[f"{kind}_cpu_ms_per_request"] for run in through) for kind in ("whole", "streamed")
    }
    times = added("whole") | {kind: added(kind) for kind in ("streamed", "first_token")}
    return {"added_latency_ms": times, "cpu_ms_per_request": costs}


def _first_problem(exchanges: Sequence[Exchange]) -> str:
    return next(exchange.problem for exchange in exchanges if not exchange.ok)
