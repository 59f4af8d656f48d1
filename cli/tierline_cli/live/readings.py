"""Samples of Prometheus expositions: read, summed, and compared with those of a moment before."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Readings:
    """Samples by name and labels at `at_s`; those of several processes are summed."""

    at_s: float
    samples: Mapping[str, Mapping[Labels, float]]

    def by(self, label: str, name: str) -> dict[str, float]:
        """Return the sums of a metric by one label."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self.samples.get(name, {}).items():
            sums[dict(labels).get(label, "")] += value
        return dict(sums)

    def total(self, name: str) -> float:
        return sum(self.samples.get(name, {}).values())

    def of(self, label: str, value: str) -> "Readings":
        """Return the samples alone of which a label has this value."""
        wanted = (label, value)
        kept = {
            name: {labels: count for labels, count in samples.items() if wanted in labels}
            for name, samples in self.samples.items()
        }
        return Readings(self.at_s, kept)


def read(expositions: Iterable[str], at_s: float) -> Readings:
    """Return what several expositions say together."""
    samples: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
    for text in expositions:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name][frozenset(sample.labels.items())] += sample.value
    return Readings(at_s, samples)


@dataclass(frozen=True, slots=True)
class Change:
    """Two readings; without an earlier one all that was counted since the processes began."""

    now: Readings
    before: Readings | None = None

    def of(self, label: str, value: str) -> "Change":
        """Return the change of the samples alone of which a label has this value."""
        return Change(self.now.of(label, value), self.before.of(label, value) if self.before is not None else None)

    def per_second(self, label: str, name: str) -> dict[str, float]:
        """Return a counter's rate by one label, 0 everywhere without an earlier reading."""
        if self.before is None:
            return dict.fromkeys(self.now.by(label, name), 0.0)
        seconds = max(self.now.at_s - self.before.at_s, 1e-9)
        earlier = self.before.by(label, name)
        # A counter that fell began anew with its process.
        return {
            key: max(value - earlier.get(key, 0.0), 0.0) / seconds for key, value in self.now.by(label, name).items()
        }

    def quantile(self, share: float, label: str, key: str, name: str) -> float | None:
        """Return a quantile of a histogram, between bucket bounds as Prometheus does it; None without observations."""
        counts: dict[float, float] = defaultdict(float)
        for readings, sign in ((self.now, 1.0), (self.before, -1.0)):
            for labels, value in (readings.samples.get(f"{name}_bucket", {}) if readings else {}).items():
                named = dict(labels)
                if named.get(label) == key:
                    counts[float(named["le"])] += sign * value
        return _quantile(share, sorted(counts.items()))


def _quantile(share: float, cumulative: list[tuple[float, float]]) -> float | None:
    total = cumulative[-1][1] if cumulative else 0.0
    if total <= 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in cumulative:
        if count >= share * total:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (share * total - below) / max(count - below, 1e-9)
        lower, below = bound, count
    return lower
