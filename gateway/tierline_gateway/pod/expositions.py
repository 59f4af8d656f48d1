"""One exposition out of several processes' metrics: counters, histograms and most gauges add up."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tierline.telemetry import gateway_metrics as names

_NOT_SUMMED: Final[Mapping[str, Callable[[float, float], float]]] = {
    # All processes see the same workers and counters; as long as one is alone, the pod does not share.
    names.WORKERS.name: max,
    names.SERVICE.name: max,
    names.SHARING.name: min,
    # The first of all that wait, wherever it waits.
    names.QUEUE_DUE.name: min,
}


class _Merged:
    def __init__(self, expositions: Iterable[str]) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for text in expositions:
            for family in text_string_to_metric_families(text):
                self._add(family)

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            for (sample, labels), value in self._values[name].items():
                family.add_sample(sample, dict(labels), value)
            yield family

    def _add(self, family: Metric) -> None:
        self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        values, merge = self._values.setdefault(family.name, {}), _NOT_SUMMED.get(family.name, float.__add__)
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            value = float(sample.value)
            values[key] = merge(values[key], value) if key in values else value


def merged_exposition(expositions: Iterable[str]) -> bytes:
    """Return the metrics of a pod from those of its processes, in Prometheus' text format."""
    return generate_latest(_Merged(expositions))
