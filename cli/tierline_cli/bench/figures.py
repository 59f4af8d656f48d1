"""From the times of tokens to figures, units in names."""

import itertools
import statistics
from collections.abc import Sequence

from tierline.bench.protocol import Done, Load, StreamTimes
from tierline.telemetry.percentiles import nearest_rank

Figures = dict[str, float]

LAST_GAPS = 64
"""So many gaps of each stream are its last ones."""


def throughput(load: Load, done: Done) -> Figures:
    """Return tokens per second over the whole load, time to first token and time per token after it."""
    begin_s, end_s = _span(done.streams)
    output = sum(len(stream.token_s) for stream in done.streams)
    gaps_ms = [gap for stream in done.streams for gap in _gaps_ms(stream.token_s)]
    return {
        "output_tokens_per_second": output / (end_s - begin_s),
        "seconds": end_s - begin_s,
        "ttft_ms": statistics.median(_ttft_ms(stream) for stream in done.streams),
        **({"tpot_ms": statistics.median(gaps_ms)} if any(gaps_ms) else {}),
        **done.counters,
    }


def prefill(load: Load, done: Done) -> Figures:
    """Return prompt tokens per second until the last first token."""
    begin_s, _ = _span(done.streams)
    seconds = max(stream.token_s[0] for stream in done.streams) - begin_s
    prompts = sum(len(stream.prompt_ids) for stream in load.streams)
    return {"prompt_tokens_per_second": prompts / seconds, "seconds": seconds, **done.counters}


def tail_beside_a_long_prompt(load: Load, done: Done) -> Figures:
    """Return the gaps between tokens of the running streams while the last stream's prompt is computed.

    `tpot_p99_over_target` is over the budget that the running streams were given, which is twice what their
    gaps are without the prompt when their own contexts are longest.
    """
    *running, long = done.streams
    begin_s, end_s = long.submitted_s, long.token_s[0]
    gaps_ms = sorted(gap for stream in running for gap in _gaps_ms(stream.token_s, begin_s, end_s))
    p99_ms, target_ms = nearest_rank(gaps_ms, 99), load.streams[0].tpot_budget_ms
    return {
        "tpot_p99_ms": p99_ms,
        "tpot_p50_ms": nearest_rank(gaps_ms, 50),
        "tpot_max_ms": gaps_ms[-1],
        "target_ms": target_ms,
        "tpot_p99_over_target": p99_ms / target_ms,
        "long_ttft_ms": 1e3 * (end_s - begin_s),
        **done.counters,
    }


def gaps_of_the_first(done: Done) -> list[tuple[float, float]]:
    """Return when each token of stream 0 came, in seconds since the last stream was submitted, and the gap in ms."""
    first, began_s = done.streams[0], done.streams[-1].submitted_s
    pairs = itertools.pairwise(first.token_s)
    return [(round(later - began_s, 4), round(1e3 * (later - earlier), 2)) for earlier, later in pairs]


def idle_gap_ms(done: Done) -> float:
    """Return the median of the last gaps between tokens: a target is kept while contexts grow, or it is none."""
    all_run_s = max(stream.token_s[0] for stream in done.streams)
    gaps_ms = [gap for stream in done.streams for gap in _gaps_ms(stream.token_s, all_run_s)[-LAST_GAPS:]]
    return statistics.median(gaps_ms)


def _gaps_ms(token_s: Sequence[float], begin_s: float = 0.0, end_s: float = float("inf")) -> list[float]:
    """Return the times between tokens, those that lie in part between `begin_s` and `end_s`: a stall over all of it
    counts."""
    pairs = itertools.pairwise(token_s)
    return [1e3 * (later - earlier) for earlier, later in pairs if earlier < end_s and later > begin_s]


def _ttft_ms(stream: StreamTimes) -> float:
    return 1e3 * (stream.token_s[0] - stream.submitted_s)


def _span(streams: Sequence[StreamTimes]) -> tuple[float, float]:
    return min(stream.submitted_s for stream in streams), max(stream.token_s[-1] for stream in streams)
