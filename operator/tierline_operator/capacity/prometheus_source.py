"""Asks Prometheus how fleets are doing. Its client brings numpy along, so it is loaded where there is a Prometheus."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import RequestException
from urllib3.util.retry import Retry

from tierline.fleet.scaling.signals import Reading, Sample
from tierline_operator.capacity.book import FleetKey
from tierline_operator.capacity.sources import (
    ANSWER_SECONDS,
    WANTED,
    FleetPods,
    SourceSilent,
    not_hidden,
    sample_of,
)

PROMETHEUS: Final = "Prometheus"
STALE_SECONDS: Final = 60.0


class PrometheusSource:
    """Asks Prometheus, in a thread, with a deadline; raises `SourceSilent` when it is silent or its samples are old."""

    name = PROMETHEUS

    def __init__(self, url: str) -> None:
        self._connection = PrometheusConnect(url=url, disable_ssl=False, retry=Retry(total=0))

    async def read(self, fleets: Sequence[FleetPods], now_ms: int) -> Mapping[FleetKey, Reading]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS + 1):
                found, newest_s = await asyncio.to_thread(self._ask)
        except (RequestException, PrometheusApiClientException, TimeoutError, ValueError) as error:
            raise SourceSilent(f"Prometheus does not answer: {error or type(error).__name__}") from None
        if fleets and (newest_s is None or now_ms / 1e3 - newest_s > STALE_SECONDS):
            age = "it has none" if newest_s is None else f"the newest is {now_ms / 1e3 - newest_s:.0f} s old"
            raise SourceSilent(f"Prometheus' samples of gateways are stale: {age}")
        readings = {fleet.key: _reading_of(fleet, found, now_ms) for fleet in not_hidden(fleets)}
        return {key: reading for key, reading in readings.items() if reading is not None}

    def _ask(self) -> tuple[Mapping[tuple[str, str], list[Sample]], float | None]:
        names = "|".join(sorted(WANTED))
        answer = self._connection.custom_query(f'{{__name__=~"{names}"}}', params=None, timeout=ANSWER_SECONDS)
        found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for series in answer:
            labels = dict(series["metric"])
            where = (labels.pop("namespace", ""), labels.pop("pod", ""))
            found[where].append(sample_of(where[1], labels.pop("__name__"), labels, float(series["value"][1])))
        newest = self._connection.custom_query(
            "max(timestamp(tierline_gateway_running_requests))", params=None, timeout=ANSWER_SECONDS
        )
        return found, float(newest[0]["value"][1]) if newest else None


def _reading_of(fleet: FleetPods, found: Mapping[tuple[str, str], list[Sample]], now_ms: int) -> Reading | None:
    if not all(found.get((fleet.key[0], name)) for name in fleet.gateways) or not fleet.gateways:
        return None
    pods = (*fleet.gateways, *fleet.workers)
    return fleet.reading((it for name in pods for it in found.get((fleet.key[0], name), ())), now_ms, PROMETHEUS)
