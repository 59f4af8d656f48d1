"""One drill from its creation to its verdict, and the fleets that drills are run on."""

import asyncio
import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tierline.api.names import API_VERSION, DRILLS_ALLOWED, LABEL_DRILLS
from tierline_operator.cluster import ApiError, Call, Cluster
from tierline_operator.kinds import FLEET_DRILL, LLM_FLEET, POD, SECRET, SLO_TIER, TENANT_QUOTA, ResourceKind

NAMESPACE, TIER, QUOTA = "default", "bench", "drill-flood"
READY_SECONDS, VERDICT_SECONDS, POLL_SECONDS = 120.0, 180.0, 0.2
ALLOWED: Mapping[str, str] = {LABEL_DRILLS: DRILLS_ALLOWED}
NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class DrillKind:
    """A kind of drill: how long it lasts and how soon after it the fleet must be ready again, in seconds."""

    name: str
    lasts: int
    recovery: int


KINDS = (
    DrillKind("WorkerKill", 1, 15),
    DrillKind("SpotReclaim", 20, 15),
    DrillKind("MetricsBlackout", 2, 15),
    DrillKind("TenantFlood", 3, 15),
    DrillKind("OperatorDown", 2, 30),
)


@dataclass(frozen=True, slots=True)
class DrillOutcome:
    """What became of one drill; `seconds` are from its creation to its verdict."""

    kind: str
    passed: bool
    seconds: float
    recovery_seconds: int | None
    message: str


async def furnish(cluster: Cluster, fleets: Iterable[str]) -> None:
    """Create a tier, a tenant that may flood, and fleets that may be drilled."""
    await _create(cluster, SLO_TIER, TIER, {"objective": "Throughput", "priority": 1})
    secret = {"metadata": {"name": QUOTA}, "data": {"key": base64.b64encode(b"bench").decode()}}
    await cluster.request(Call("POST", SECRET.path(NAMESPACE), body={"apiVersion": "v1", "kind": "Secret", **secret}))
    quota = {"tenant": "drill", "tierRefs": [TIER], "apiKeySecretRefs": [{"name": QUOTA, "key": "key"}]}
    await _create(cluster, TENANT_QUOTA, QUOTA, quota, ALLOWED)
    for name in fleets:
        pools = [{"name": "main", "replicas": {"min": 2, "max": 2}, "resources": {"cpu": "1m"}}]
        spec = {"model": {"source": "/models/none"}, "tierRefs": [TIER], "pools": pools, "drainSeconds": 1}
        await _create(cluster, LLM_FLEET, name, spec, ALLOWED)
    async with asyncio.timeout(READY_SECONDS):
        for name in fleets:
            await _until_condition(cluster, LLM_FLEET.path(NAMESPACE, name), "Ready", {"True"})


async def gateway_address(cluster: Cluster, fleet: str) -> str:
    """Return the address of a fleet's gateway."""
    query = {"labelSelector": f"tierline.dev/fleet={fleet},app.kubernetes.io/component=gateway"}
    pods, _ = await cluster.list_all(POD.path(NAMESPACE), query)
    return str(pods[0]["status"]["podIP"])


async def run_drill(cluster: Cluster, fleet: str, kind: DrillKind, number: int) -> DrillOutcome:
    """Run one drill; one without a verdict in time has not passed."""
    name, started = f"{kind.name.lower()}-{number}", time.monotonic()
    path = FLEET_DRILL.path(NAMESPACE, name)
    await _create(cluster, FLEET_DRILL, name, _spec(fleet, kind))
    try:
        async with asyncio.timeout(VERDICT_SECONDS):
            passed = await _until_condition(cluster, path, "Passed", {"True", "False"})
    except TimeoutError:
        passed = {"status": "False", "message": f"There was no verdict in {VERDICT_SECONDS:.0f} s."}
    seconds = round(time.monotonic() - started, 2)
    status = (await cluster.request(Call("GET", path))).get("status", {})
    await _delete(cluster, path)
    holds = passed["status"] == "True"
    told = "" if holds else str(passed["message"])
    return DrillOutcome(kind.name, holds, seconds, status.get("recoverySeconds"), told)


def _spec(fleet: str, kind: DrillKind) -> dict[str, Any]:
    criteria: dict[str, Any] = {"recoverySeconds": kind.recovery}
    spec = {"fleetRef": fleet, "kind": kind.name, "seconds": kind.lasts, "criteria": criteria}
    if kind.name != "TenantFlood":
        return spec
    criteria["tiers"] = [{"tierRef": TIER, "attainmentPercent": 95, "ttftMilliseconds": {"p95": 100}}]
    return {**spec, "flood": {"tenantQuotaRef": QUOTA, "requestsPerSecond": 20}}


async def _create(
    cluster: Cluster, kind: ResourceKind, name: str, spec: dict[str, Any], labels: Mapping[str, str] = NO_LABELS
) -> None:
    metadata = {"name": name, "labels": dict(labels)}
    body = {"apiVersion": API_VERSION, "kind": kind.kind, "metadata": metadata, "spec": spec}
    await cluster.request(Call("POST", kind.path(NAMESPACE), body=body))


async def _until_condition(cluster: Cluster, path: str, wanted: str, statuses: set[str]) -> dict[str, Any]:
    while True:
        conditions = (await cluster.request(Call("GET", path))).get("status", {}).get("conditions", ())
        for it in conditions:
            if it["type"] == wanted and it["status"] in statuses:
                return dict(it)
        await asyncio.sleep(POLL_SECONDS)


async def _delete(cluster: Cluster, path: str) -> None:
    await cluster.request(Call("DELETE", path))
    while True:
        try:
            await cluster.request(Call("GET", path))
        except ApiError as error:
            if error.status != 404:
                raise
            return
        await asyncio.sleep(POLL_SECONDS)
