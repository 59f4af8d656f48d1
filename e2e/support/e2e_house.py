"""What most tests share: the installed chart, tiers, and one small fleet with two tenants."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e_cluster import Cluster
from e2e_manifests import fleet, quota, secret, tier
from e2e_namespace import Namespace

RELEASE = "tierline"
SYSTEM = "tierline-system"
OPERATOR = "tierline-operator"
ENV_VALUES = "TIERLINE_E2E_VALUES"
"""A file of chart values, for clusters that take their images from elsewhere."""

CHART = Path(__file__).parents[2] / "charts" / "tierline"

FAST, SLOW, UNSERVED = "e2e-fast", "e2e-slow", "e2e-unserved"
FLEET = "tiny"
KEYS: Mapping[str, str] = {"alice": "key-of-alice", "bob": "key-of-bob"}
"""alice may use both tiers of the fleet and one that it does not serve, bob only the slow one."""


@dataclass(frozen=True)
class House:
    """The shared fleet, ready, and how long it took from `kubectl apply` to Ready."""

    namespace: Namespace
    model_source: str
    ready_after_s: float
    fleet: str = FLEET


async def install(cluster: Cluster) -> None:
    """Install the chart and wait for the operator."""
    values = [word for path in os.environ.get(ENV_VALUES, "").split() for word in ("-f", path)]
    waiting = ["--create-namespace", "--wait", "--timeout", "60s"]
    await cluster.helm("install", RELEASE, str(CHART), "-n", SYSTEM, *values, *waiting)


async def uninstall(cluster: Cluster) -> None:
    await cluster.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait", "--timeout", "60s")


async def create_tiers(cluster: Cluster) -> None:
    for manifest in (tier(FAST, 100), tier(SLOW, 10), tier(UNSERVED, 1)):
        await cluster.create(manifest)


async def leave(cluster: Cluster) -> None:
    """Take out of somebody else's cluster what `install` and `create_tiers` put there; the CRDs stay."""
    for name in (FAST, SLOW, UNSERVED):
        await cluster.delete("SLOTier", name)
    await uninstall(cluster)
    await cluster.delete("Namespace", SYSTEM)


async def furnish(namespace: Namespace, source: str) -> None:
    """Create tenants and fleet in the shared namespace."""
    await namespace.create(
        *(secret(tenant, key) for tenant, key in KEYS.items()),
        quota("alice", (FAST, SLOW, UNSERVED)),
        quota("bob", (SLOW,)),
        fleet(FLEET, source, (FAST, SLOW)),
    )
