"""Where the operator learns how fleets are doing: from their pods here, from Prometheus in `prometheus_source`."""

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tierline.api.names import GATEWAY_ADMIN_PORT, WORKER_HTTP_PORT
from tierline.fleet.scaling.signals import GATEWAY_SERIES, WORKER_SERIES, Reading, Sample
from tierline.telemetry.gateway_metrics import MODEL
from tierline_operator.capacity.book import FleetKey
from tierline_operator.capacity.patience import Patience

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 5.0
AT_A_TIME: Final = 32
PODS: Final = "pods"
_LABELS: Final = ("tier", "tenant", "billing_tier", "outcome", "le", "term", "source", MODEL)
WANTED: Final = frozenset((*GATEWAY_SERIES, *WORKER_SERIES))
"""The series that are read."""


@dataclass(frozen=True, slots=True)
class FleetPods:
    """The running pods of a fleet, addresses by name; gateways may serve other models than its `model`, too.

    `blacked_out` is a fleet that a drill hides from its source.
    """

    key: FleetKey
    gateways: Mapping[str, str]
    workers: Mapping[str, str]
    blacked_out: bool = False
    model: str = ""

    def reading(self, samples: Iterable[Sample], now_ms: int, source: str) -> Reading:
        """Return what is this fleet's of its pods' samples."""
        return Reading(now_ms, tuple(it for it in samples if it.label(MODEL) in {"", self.model}), source)


class SourceSilent(Exception):
    """Nobody can tell how fleets are doing; the message says who did not answer, and why."""


class SignalSource(Protocol):
    """Tells what fleets count. A fleet that nobody can tell of is left out."""

    @property
    def name(self) -> str: ...

    async def read(self, fleets: Sequence[FleetPods], now_ms: int) -> Mapping[FleetKey, Reading]: ...


def not_hidden(fleets: Sequence[FleetPods]) -> list[FleetPods]:
    """Return the fleets that no drill hides."""
    return [fleet for fleet in fleets if not fleet.blacked_out]


class PodSource:
    """Asks every gateway and worker itself; fleets that do not answer are asked less and less often."""

    name = PODS

    def __init__(self) -> None:
        self._patience = Patience()

    async def read(self, fleets: Sequence[FleetPods], now_ms: int) -> Mapping[FleetKey, Reading]:
        """Return the readings of fleets of which every gateway has answered."""
        self._patience.keep(_identity(fleet) for fleet in fleets)
        gate, seen = asyncio.Semaphore(AT_A_TIME), not_hidden(fleets)
        due = [it for it in seen if it.gateways and self._patience.is_due(_identity(it), now_ms)]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
            told = await asyncio.gather(*(_ask_fleet(session, gate, fleet, now_ms) for fleet in due))
        for fleet, reading in zip(due, told, strict=True):
            self._patience.note(_identity(fleet), reading is not None, now_ms)
        return {fleet.key: reading for fleet, reading in zip(due, told, strict=True) if reading is not None}


async def _ask_fleet(
    session: aiohttp.ClientSession, gate: asyncio.Semaphore, fleet: FleetPods, now_ms: int
) -> Reading | None:
    """Ask the gateways, and only if all of them tell the workers: without the former nothing can be said."""
    asked = (_ask(session, gate, name, f"{host}:{GATEWAY_ADMIN_PORT}") for name, host in fleet.gateways.items())
    gateways = await asyncio.gather(*asked)
    if any(answer is None for answer in gateways):
        return None
    asked = (_ask(session, gate, name, f"{host}:{WORKER_HTTP_PORT}") for name, host in fleet.workers.items())
    answers = (*gateways, *await asyncio.gather(*asked))
    return fleet.reading((sample for answer in answers for sample in answer or ()), now_ms, PODS)


def _identity(fleet: FleetPods) -> Hashable:
    return (fleet.key, frozenset(fleet.gateways.items()))


async def _ask(
    session: aiohttp.ClientSession, gate: asyncio.Semaphore, pod: str, address: str
) -> tuple[Sample, ...] | None:
    try:
        async with gate, session.get(f"http://{address}/metrics") as response:
            response.raise_for_status()
            return tuple(_samples(pod, await response.text()))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.debug("pod %s does not tell its figures: %s", pod, error or type(error).__name__)
        return None


def _samples(pod: str, exposition: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(exposition):
        for it in family.samples:
            if it.name in WANTED:
                yield sample_of(pod, it.name, it.labels, it.value)


def sample_of(pod: str, name: str, labels: Mapping[str, Any], value: float) -> Sample:
    """Return one sample with the labels that are asked for."""
    return Sample(pod, name, tuple((key, str(labels[key])) for key in _LABELS if key in labels), value)
