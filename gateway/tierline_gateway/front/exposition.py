"""The gateway's metrics: what it measures of each fleet, told apart by the label `model`."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric, generate_latest

from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.telemetry.gateway_metrics import ETA_ERROR, MODEL, SHARING
from tierline.wire.states import RequestState
from tierline_gateway.served.fleet import ServedFleet

_OF_THE_GATEWAY: Final = frozenset({ETA_ERROR.name, SHARING.name})
"""What is measured once for all fleets, with the first one."""


def exposition(fleets: Mapping[str, ServedFleet]) -> bytes:
    """Return the metrics of all fleets, by the model that each serves, in Prometheus' text format."""
    for fleet in fleets.values():
        _observe(fleet)
    return generate_latest(_Labelled(fleets))


class _Labelled:
    def __init__(self, fleets: Mapping[str, ServedFleet]) -> None:
        self._fleets = fleets

    def collect(self) -> Iterator[Metric]:
        """Yield each family once, with the samples of every fleet."""
        families: dict[str, Metric] = {}
        for model, fleet in self._fleets.items():
            for family in fleet.instruments.registry.collect():
                told = families.get(family.name)
                if told is None:
                    told = families[family.name] = Metric(family.name, family.documentation, family.type)
                elif family.name in _OF_THE_GATEWAY:
                    continue
                label = {} if family.name in _OF_THE_GATEWAY else {MODEL: model}
                told.samples += [sample._replace(labels={**sample.labels, **label}) for sample in family.samples]
        yield from families.values()


def _observe(fleet: ServedFleet) -> None:
    """Set the gauges to what is true now."""
    instruments, dispatcher = fleet.instruments, fleet.dispatcher
    instruments.queue.clear()
    instruments.workers.clear()
    for queued in dispatcher.queue.waiting():
        instruments.queue.labels(queued.tier).inc()
    instruments.queue_due.clear()
    epoch_ms = time.time() * 1e3 - fleet.clock_ms()
    for tier, due_ms in _first_due_ms(dispatcher.queue.waiting()).items():
        instruments.queue_due.labels(tier).set((epoch_ms + due_ms) / 1e3)
    for link in dispatcher.links:
        instruments.workers.labels(link.state).inc()
    if fleet.sharing is not None:
        instruments.sharing.set(0 if fleet.sharing.problem else fleet.sharing.gateways)
    waiting = RequestState.WAITING
    instruments.running.set(sum(live.life.state is not waiting and not live.life.done for live in dispatcher.live))
    for tenant in {live.tenant.tenant for live in dispatcher.live}:
        instruments.service.labels(instruments.tenant_label(tenant)).set(dispatcher.queue.counter(tenant))


def _first_due_ms(waiting: Iterable[QueuedRequest]) -> Mapping[str, float]:
    """Return by tier when the first of its requests is due."""
    due_ms: dict[str, float] = {}
    for queued in waiting:
        due_ms[queued.tier] = min(due_ms.get(queued.tier, queued.deadline_ms), queued.deadline_ms)
    return due_ms
