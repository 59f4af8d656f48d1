"""How the requests on a change's canaries fare, as the fleet's gateways count them.

The operator asks the gateways themselves, so that a canary needs no Prometheus. Their counters are from their start:
what they said when the canaries began is the base, kept here by gateway. A new leader takes a new base, so evidence is
lost with a leader and a canary is held longer, never shorter.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tierline.api.names import GATEWAY_ADMIN_PORT
from tierline.fleet.rollout.canary import CanaryFigures, TierFigures
from tierline.telemetry.gateway_metrics import OUTCOME_MET, REVISION_REQUESTS

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0

Counts = Mapping[tuple[str, str, str, str], float]
"""Requests by tier, pool, revision and outcome."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one pool: `gateways` are the addresses of the fleet's gateways by name."""

    pool_uid: str
    pool: str
    stable: str
    target: str
    gateways: Mapping[str, str]


class FigureSource(Protocol):
    """Tells how canaries fare; None when nobody can tell."""

    async def figures(self, change: Change) -> CanaryFigures | None: ...

    def forget(self, pool_uid: str) -> None: ...


@dataclass(slots=True)
class GatewayFigures:
    """Figures from the gateways' own counters."""

    _bases: dict[str, tuple[str, dict[str, Counts]]] = field(default_factory=dict)

    async def figures(self, change: Change) -> CanaryFigures | None:
        """Ask every gateway; those that do not answer are left out, and None is returned when none does."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asked = (_ask(session, host) for host in change.gateways.values())
            answers = dict(zip(change.gateways, await asyncio.gather(*asked), strict=True))
        told = {name: counts for name, counts in answers.items() if counts is not None}
        if not told:
            return None
        since = [_since(counts, self._base_of(change, name, counts)) for name, counts in told.items()]
        return CanaryFigures(_sum(since, change.pool, change.target), _sum(since, change.pool, change.stable))

    def forget(self, pool_uid: str) -> None:
        """Let go of a pool that tries no change."""
        self._bases.pop(pool_uid, None)

    def _base_of(self, change: Change, gateway: str, counts: Counts) -> Counts:
        target, bases = self._bases.get(change.pool_uid, ("", {}))
        if target != change.target:
            bases = {}
            self._bases[change.pool_uid] = (change.target, bases)
        return bases.setdefault(gateway, counts)


async def _ask(session: aiohttp.ClientSession, host: str) -> Counts | None:
    url = f"http://{host}:{GATEWAY_ADMIN_PORT}/metrics"
    try:
        async with session.get(url) as response:
            response.raise_for_status()
            return counts_in(await response.text())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.warning("gateway %s does not tell its figures: %s", host, error or type(error).__name__)
        return None


def counts_in(exposition: str) -> Counts:
    """Return the requests by revision in a gateway's metrics."""
    return {
        (it.labels["tier"], it.labels["pool"], it.labels["revision"], it.labels["outcome"]): it.value
        for family in text_string_to_metric_families(exposition)
        if family.name == REVISION_REQUESTS.name
        for it in family.samples
        if it.name.endswith("_total")
    }


def _since(counts: Counts, base: Counts) -> Counts:
    # A gateway that was restarted under the same name counts from zero again.
    return {key: value - base.get(key, 0.0) if value >= base.get(key, 0.0) else value for key, value in counts.items()}


def _sum(counted: Iterable[Counts], pool: str, revision: str) -> Mapping[str, TierFigures]:
    requests: dict[str, float] = defaultdict(float)
    bad: dict[str, float] = defaultdict(float)
    for counts in counted:
        for (tier, of_pool, of_revision, outcome), value in counts.items():
            if (of_pool, of_revision) == (pool, revision):
                requests[tier] += value
                bad[tier] += 0.0 if outcome == OUTCOME_MET else value
    return {tier: TierFigures(round(total), round(bad[tier])) for tier, total in requests.items() if total}
