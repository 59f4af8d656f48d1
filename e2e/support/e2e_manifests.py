"""Small valid resources for tests."""

import base64
from collections.abc import Mapping
from typing import Any

from tierline.api.names import API_VERSION

Manifest = dict[str, Any]
ENGINE = {
    "blockTokens": 16,
    "kvCacheBlocks": 1024,
    "maxRunningRequests": 8,
    "maxBatchedTokens": 256,
    "maxModelTokens": 8192,
    "threads": 1,
}
POOL = "main"


def fleet(name: str, source: str, tiers: tuple[str, ...], workers: int = 2, **spec: Any) -> Manifest:
    """Return a fleet with one pool called `main` of `workers` to two more workers."""
    pool = {"name": POOL, "replicas": {"min": workers, "max": workers + 2}, "engine": ENGINE}
    declared = {"model": {"source": source}, "tierRefs": list(tiers), "pools": [pool], "drainSeconds": 3}
    return resource("LLMFleet", name, {**declared, **spec})


def tier(name: str, priority: int, **spec: Any) -> Manifest:
    return resource("SLOTier", name, {"objective": "Throughput", "priority": priority, **spec})


def quota(tenant: str, tiers: tuple[str, ...], **spec: Any) -> Manifest:
    """Return the quota of a tenant whose API key is in the Secret of the same name; the first tier is the default."""
    keys = [{"name": tenant, "key": "key"}]
    declared = {"tenant": tenant, "tierRefs": list(tiers), "defaultTierRef": tiers[0], "apiKeySecretRefs": keys}
    return resource("TenantQuota", tenant, {**declared, **spec})


def secret(tenant: str, key: str) -> Manifest:
    encoded = base64.b64encode(key.encode()).decode()
    return {"kind": "Secret", "metadata": {"name": tenant}, "data": {"key": encoded}}


def resource(kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
