"""Speculation is measured against itself switched off, and stays off where it does not pay.

    r = ln(tokens/s with) - ln(tokens/s without),  off when mean(r) - t * s(r) / sqrt(n) < ln(0.97)

The goodput formula trusts a latency model; here nothing is trusted. Now and then two short epochs follow each other,
one with drafts and one without, in turns which comes first, and their paired log-ratio of tokens per second is kept.
Drift of the load hits both alike; pairs whose load differs (decoding rows, or the predicted time without drafts, by
more than `LIKE_LOAD`) are dropped. With `MIN_PAIRS` of them the one-sided 90 % lower confidence bound (Student's t)
decides.
A pair that speaks against the present state is followed by the next at once, others after a pause; while off, the
pause doubles with each pair that confirms it.

Inputs: tokens, milliseconds and load of committed iterations in which the policy wanted drafts (others say nothing).
Bounds: of iterations that want drafts at most `EPOCH / PAUSE`, 3 %, run against the present state, but for pairs that
are repeated at once. When not to use:
where an iteration's time is not its own, as when another process shares the device in bursts longer than an epoch.
"""

import math
from dataclasses import dataclass, field, replace

EPOCH = 8
FIRST_PAUSE = 32
PAUSE = 272
LONGEST_PAUSE = 16 * PAUSE
MIN_PAIRS = 4
KEPT_PAIRS = 10
LIKE_LOAD = 0.1
LEAST_GAIN = math.log(0.97)
_T_90 = (0.0, 3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383)


@dataclass(frozen=True, slots=True)
class _Epoch:
    """Sums over iterations of one kind; `load_ms` is their predicted time without drafts."""

    drafting: bool
    iterations: int = 0
    tokens: float = 0.0
    elapsed_ms: float = 0.0
    rows: float = 0.0
    load_ms: float = 0.0

    def plus(self, tokens: float, elapsed_ms: float, rows: float, load_ms: float) -> "_Epoch":
        return _Epoch(
            self.drafting,
            self.iterations + 1,
            self.tokens + tokens,
            self.elapsed_ms + elapsed_ms,
            self.rows + rows,
            self.load_ms + load_ms,
        )


@dataclass(frozen=True, slots=True)
class SwitchState:
    """All that the switch knows: replaced as a whole, so that a snapshot is the object itself.

    `pause` is how many iterations lie before the next pair, `waited` how many of them are over; `step` counts a pair's
    planned iterations, -1 between pairs. `ratios` are the last pairs' log-ratios.
    """

    on: bool = True
    pause: int = FIRST_PAUSE
    waited: int = 0
    step: int = -1
    with_first: bool = True
    first: _Epoch = field(default_factory=lambda: _Epoch(drafting=True))
    second: _Epoch = field(default_factory=lambda: _Epoch(drafting=False))
    ratios: tuple[float, ...] = ()


class SpeculationSwitch:
    """Says for each iteration that wants drafts whether it may have them."""

    def __init__(self) -> None:
        self.state = SwitchState()

    @property
    def on(self) -> bool:
        return self.state.on

    def plan(self) -> tuple[bool, int]:
        """Say whether an iteration that wants drafts may have them, and which epoch it belongs to (0: to none)."""
        step = self.state.step
        if 0 <= step < 2 * EPOCH:
            self.state = replace(self.state, step=step + 1)
            first = step < EPOCH
            return first == self.state.with_first, 1 if first else 2
        self._wait()
        return self.state.on, 0

    def commit(self, epoch: int, tokens: int, elapsed_ms: float, rows: float, load_ms: float) -> None:
        """Take the result of an iteration of `epoch` 1 or 2; of one that broke, tokens and time are 0."""
        state = self.state
        if epoch == 1:
            self.state = replace(state, first=state.first.plus(tokens, elapsed_ms, rows, load_ms))
        else:
            self.state = replace(state, second=state.second.plus(tokens, elapsed_ms, rows, load_ms))
            if self.state.second.iterations == EPOCH:
                self._judge()

    def _wait(self) -> None:
        if self.state.step >= 0:
            return
        waited = self.state.waited + 1
        self.state = replace(self.state, waited=waited)
        if waited >= self.state.pause:
            self._begin_pair()

    def _begin_pair(self) -> None:
        turned = not self.state.with_first
        self.state = replace(
            self.state, waited=0, step=0, with_first=turned, first=_Epoch(turned), second=_Epoch(not turned)
        )

    def _judge(self) -> None:
        """End a pair: keep its ratio if it is one, switch if the bound says so, and choose the pause."""
        state = replace(self.state, step=-1)
        ratio = _log_ratio(state.first, state.second)
        if ratio is None:
            self.state = replace(state, pause=max(state.pause, EPOCH))
            return
        ratios = (*state.ratios, ratio)[-KEPT_PAIRS:]
        bound = lower_bound(ratios)
        wanted = state.on if bound is None else bound >= LEAST_GAIN
        if wanted != state.on:
            self.state = replace(state, on=wanted, ratios=(), pause=PAUSE)
            return
        against = (ratio >= LEAST_GAIN) != state.on
        longer = PAUSE if state.on else min(2 * max(state.pause, PAUSE), LONGEST_PAUSE)
        self.state = replace(state, ratios=ratios, pause=EPOCH if against else longer)


def lower_bound(ratios: tuple[float, ...]) -> float | None:
    """Return the one-sided 90 % lower confidence bound of the mean log-ratio, None of too few pairs."""
    count = len(ratios)
    if count < MIN_PAIRS:
        return None
    mean = sum(ratios) / count
    deviation = math.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / (count - 1))
    return mean - _T_90[count - 1] * deviation / math.sqrt(count)


def _log_ratio(first: _Epoch, second: _Epoch) -> float | None:
    """Return ln of tokens per ms with drafts over that without, None of epochs that cannot be compared."""
    drafting, plain = (first, second) if first.drafting else (second, first)
    sums = (drafting.tokens, drafting.elapsed_ms, plain.tokens, plain.elapsed_ms)
    if min(sums) <= 0 or not _alike(drafting.rows, plain.rows) or not _alike(drafting.load_ms, plain.load_ms):
        return None
    return math.log(drafting.tokens / drafting.elapsed_ms) - math.log(plain.tokens / plain.elapsed_ms)


def _alike(left: float, right: float) -> bool:
    return abs(left - right) <= LIKE_LOAD * max(left, right)
