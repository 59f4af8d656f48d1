"""What a fleet's gateways have counted by tier, as drills judge it: every tenant's requests but those of a flood."""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tierline.api.names import GATEWAY_ADMIN_PORT
from tierline.fleet.drills.counts import Buckets, Counts, TierCounts
from tierline.telemetry import gateway_metrics as names
from tierline.wire.states import FinishReason

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
_NUMBERS: Mapping[tuple[str, str], str] = {
    (f"{names.REQUESTS.name}_total", str(FinishReason.FAILED)): "failed",
    (f"{names.REQUESTS.name}_total", str(FinishReason.REFUSED)): "refused",
    (f"{names.MISSED.name}_total", ""): "missed",
    (f"{names.LOST.name}_total", ""): "lost_tokens",
    (f"{names.DUPLICATED.name}_total", ""): "duplicated_tokens",
}
_TTFT, _TPOT = f"{names.TTFT.name}_bucket", f"{names.TPOT.name}_bucket"


@dataclass(frozen=True, slots=True)
class Counted:
    """The tiers' counts without the flood's tenant, and how many requests of that one have ended."""

    tiers: Counts
    flooded: int


async def counted(gateways: Mapping[str, str], model: str, flood_tenant: str) -> Counted | None:
    """Ask every gateway for its figures of one model; None when one does not answer, for a part of the counts would
    look like a loss."""
    if not gateways:
        return None
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        told = await asyncio.gather(*(_ask(session, host) for host in gateways.values()))
    samples = [it for answer in told for it in answer or () if it.labels.get(names.MODEL, model) == model]
    return None if None in told else _sum(samples, flood_tenant)


async def _ask(session: aiohttp.ClientSession, host: str) -> list[Sample] | None:
    try:
        async with session.get(f"http://{host}:{GATEWAY_ADMIN_PORT}/metrics") as response:
            response.raise_for_status()
            families = text_string_to_metric_families(await response.text())
            return [sample for family in families for sample in family.samples]
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        log.warning("gateway %s does not tell its figures: %s", host, error or type(error).__name__)
        return None


def _sum(samples: Iterable[Sample], flood_tenant: str) -> Counted:
    numbers: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    buckets: dict[tuple[str, str], dict[float, int]] = defaultdict(lambda: defaultdict(int))
    flooded = 0
    for sample in samples:
        labels, is_request = sample.labels, sample.name == f"{names.REQUESTS.name}_total"
        if "tenant" not in labels or "tier" not in labels:
            continue
        if labels["tenant"] == flood_tenant:
            flooded += int(sample.value) if is_request else 0
            continue
        tier, number = numbers[labels["tier"]], _NUMBERS.get((sample.name, labels.get("outcome", "")))
        if number is not None:
            tier[number] += int(sample.value)
        if is_request and labels["outcome"] != FinishReason.CANCELLED:
            tier["requests"] += int(sample.value)
        if sample.name in {_TTFT, _TPOT}:
            buckets[labels["tier"], sample.name][float(labels["le"])] += int(sample.value)
    return Counted({tier: _tier_counts(tier, it, buckets) for tier, it in numbers.items()}, flooded)


def _tier_counts(
    tier: str, numbers: Mapping[str, int], buckets: Mapping[tuple[str, str], Mapping[float, int]]
) -> TierCounts:
    return TierCounts(
        requests=numbers.get("requests", 0),
        missed=numbers.get("missed", 0),
        failed=numbers.get("failed", 0),
        refused=numbers.get("refused", 0),
        lost_tokens=numbers.get("lost_tokens", 0),
        duplicated_tokens=numbers.get("duplicated_tokens", 0),
        ttft=_in_order(buckets.get((tier, _TTFT), {}), names.SECONDS_BUCKETS),
        tpot=_in_order(buckets.get((tier, _TPOT), {}), names.TOKEN_SECONDS_BUCKETS),
    )


def _in_order(held: Mapping[float, int], bounds: tuple[float, ...]) -> Buckets:
    """A gateway of another version may have other bounds; what cannot be compared is left out."""
    return tuple(held[bound] for bound in sorted(held)) if held.keys() == {*bounds, math.inf} else ()
