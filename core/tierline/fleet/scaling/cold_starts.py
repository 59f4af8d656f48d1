"""How long a worker takes from its creation until it serves, learned by model, accelerator and whether it starts warm.

    mean += (x - mean) / 8,  deviation += (|x - mean| - deviation) / 4          first sample: deviation = x / 2
    bound = mean + 2 * deviation

Jacobson's estimator of mean and mean deviation (Jacobson, "Congestion avoidance and control", SIGCOMM 1988), with twice
the deviation instead of four times it: about 95 % of a bell curve, where a timeout that is too short costs a
retransmission and a forecast that is too long only a worker for some seconds more.

A start counts once, when it happened under our eyes and the worker has told whether its node had the weights. One
that waited for a node for longer than an autoscaler takes tells of the market, not of the start, and is left out. What
was never seen is taken from the nearest that was: the other warmth (cold for warm is too long, warm for cold too short,
so then the prior counts too), other models on the accelerator, the prior.

Inputs: sights of workers. Bounds: starts of up to `LONGEST_SECONDS`; `MOST_KEYS` are remembered, the oldest go first.
When not to use it: for a restart of a container in its pod, which keeps its place and is not counted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PRIOR_SECONDS = 60.0
LONGEST_SECONDS = 1_800.0
LONGEST_WAIT_MS = 120_000
TELLING_MS = 300_000
"""How long a worker that is ready may take to tell whether it started warm."""

COUNTED_MS = round(LONGEST_SECONDS * 1000) + TELLING_MS
"""A ready worker that is older has been counted, or never will be."""

MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
SPREADS = 2.0
MOST_KEYS = 256


@dataclass(frozen=True, slots=True, order=True)
class StartKey:
    """What a start depends on: the model's source, the accelerator, and whether the node had the weights."""

    model: str
    accelerator: str
    warm: bool


@dataclass(frozen=True, slots=True)
class StartTime:
    """Mean and mean deviation of a start, in seconds; without samples it is a guess."""

    mean_seconds: float = PRIOR_SECONDS / 2
    deviation_seconds: float = PRIOR_SECONDS / 4
    samples: int = 0

    @property
    def bound_seconds(self) -> float:
        """Return the time within which nearly every worker serves."""
        return self.mean_seconds + SPREADS * self.deviation_seconds

    def observed(self, seconds: float) -> "StartTime":
        if not self.samples:
            return StartTime(seconds, seconds / 2, 1)
        error = seconds - self.mean_seconds
        deviation = self.deviation_seconds + DEVIATION_GAIN * (abs(error) - self.deviation_seconds)
        return StartTime(self.mean_seconds + MEAN_GAIN * error, deviation, self.samples + 1)


UNSEEN = StartTime()


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """All that was learned of starts."""

    times: Mapping[StartKey, StartTime] = field(default_factory=dict)

    def observed(self, key: StartKey, seconds: float) -> "ColdStarts":
        """Return what is known after one more start."""
        others = {known: it for known, it in self.times.items() if known != key}
        kept = dict([*others.items()][-(MOST_KEYS - 1) :])
        return ColdStarts({**kept, key: self.times.get(key, UNSEEN).observed(min(seconds, LONGEST_SECONDS))})

    def expected(self, key: StartKey) -> StartTime:
        """Return how long a start takes, by the nearest of what was seen."""
        if key in self.times:
            return self.times[key]
        other = self.times.get(StartKey(key.model, key.accelerator, not key.warm))
        if other is not None:
            return other if key.warm else max(other, UNSEEN, key=_bound)
        alike = [
            it for known, it in self.times.items() if (known.accelerator, known.warm) == (key.accelerator, key.warm)
        ]
        return max(alike, key=_bound, default=UNSEEN)


@dataclass(frozen=True, slots=True)
class StartSight:
    """A worker at one look: when it was created, got a node and became ready (None: not yet)."""

    uid: str
    model: str
    accelerator: str
    created_ms: int
    scheduled_ms: int | None = None
    ready_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StartWatch:
    """What was learned, the workers whose start has been seen and not been counted yet, and when that was looked at."""

    starts: ColdStarts = field(default_factory=ColdStarts)
    starting: frozenset[str] = frozenset()
    looked_ms: int | None = None

    def looked(self, sights: Iterable[StartSight], warm: Mapping[str, bool], now_ms: int) -> "StartWatch":
        """Return what is known after a look at all workers; `warm` is what they told, by uid."""
        starts, starting = self.starts, set[str]()
        for sight in sights:
            if sight.ready_ms is None:
                starting.add(sight.uid)
            elif self._saw_start_of(sight) and sight.uid in warm:
                starts = _counted(starts, sight, sight.ready_ms, warm[sight.uid])
            elif self._saw_start_of(sight) and now_ms - sight.ready_ms < TELLING_MS:
                starting.add(sight.uid)
        return StartWatch(starts, frozenset(starting), now_ms)

    def _saw_start_of(self, sight: StartSight) -> bool:
        """Say whether the worker started under our eyes: quick ones are made and ready between two looks."""
        is_new = self.looked_ms is not None and sight.created_ms >= self.looked_ms
        return is_new or sight.uid in self.starting


def _counted(starts: ColdStarts, sight: StartSight, ready_ms: int, warm: bool) -> ColdStarts:
    waited_ms = (sight.scheduled_ms or sight.created_ms) - sight.created_ms
    if waited_ms > LONGEST_WAIT_MS:
        return starts
    key = StartKey(sight.model, sight.accelerator, warm)
    return starts.observed(key, max(ready_ms - sight.created_ms, 0) / 1e3)


def _bound(it: StartTime) -> float:
    return it.bound_seconds
