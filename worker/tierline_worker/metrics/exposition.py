"""Series as Prometheus' text: one collector for each scrape, over what is there at that moment."""

import itertools
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tierline.telemetry import worker_metrics as names
from tierline_worker.metrics.readings import LoadSample, Readings, readings
from tierline_worker.metrics.tallies import Distribution, Total

Stamped = Mapping[str, Mapping[tuple[str, ...], Total | Distribution]]
_Value = float | Total | Distribution


def expose(model: str, stamped: Stamped, gauges: Readings, sample: LoadSample) -> bytes:
    """Return the exposition of `stamped` series, `gauges` and the readings of `sample`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(model, stamped, gauges, sample))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, model: str, stamped: Stamped, gauges: Readings, sample: LoadSample) -> None:
        self._base = (model, names.ENGINE)
        self._stamped = stamped
        self._gauges = gauges
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        read = {**readings(self._sample), **self._gauges}
        for metric in names.WORKER_METRICS.values():
            family = _FAMILIES[metric.kind](metric.name, metric.text, labels=(*names.BASE_LABELS, *metric.labels))
            # A copy first: the engine's thread may add a label meanwhile.
            series: dict[tuple[str, ...], _Value] = {
                **dict(self._stamped.get(metric.name, {})),
                **read.get(metric.name, {}),
            }
            for labels, value in series.items():
                _add(family, (*self._base, *labels), value)
            yield family
        yield from _infos(self._sample)


_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}


def _add(family: Metric, labels: tuple[str, ...], value: _Value) -> None:
    match family, value:
        case HistogramMetricFamily(), Distribution():
            family.add_metric(labels, _buckets(value), value.sum)
        case CounterMetricFamily() | GaugeMetricFamily(), Total():
            family.add_metric(labels, value.value)
        case CounterMetricFamily() | GaugeMetricFamily(), float() | int():
            family.add_metric(labels, value)
        case _:
            raise TypeError(f"{family.name} is a {family.type}, its series are {type(value).__name__}")


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    bounds = (*map(str, distribution.bounds), "+Inf")
    return list(zip(bounds, itertools.accumulate(list(distribution.counts)), strict=True))


def _infos(sample: LoadSample) -> Iterator[Metric]:
    """vLLM's two families whose labels are the message: the cache's configuration, and which adapters are in use."""
    limits = sample.load.limits
    if limits is None:
        return
    cache = GaugeMetricFamily(names.CACHE_CONFIG, "Configuration of the KV cache.", labels=names.CACHE_CONFIG_LABELS)
    sizes = (limits.block_tokens, limits.total_blocks, limits.host_blocks, limits.prefix_caching)
    cache.add_metric((names.ENGINE, *map(str, sizes)), 1)
    yield cache
    if limits.max_adapters:
        lora = GaugeMetricFamily(names.LORA_REQUESTS, "Adapters of requests; the time.", labels=names.LORA_LABELS)
        adapters = (",".join(sample.load.running_adapters), ",".join(sample.load.waiting_adapters))
        lora.add_metric((str(limits.max_adapters), *adapters), sample.now_s)
        yield lora
