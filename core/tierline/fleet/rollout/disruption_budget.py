"""The PodDisruptionBudget of a pool: node drains take its workers one after the other.

It counts by the pool's `scale` subresource, so it follows every change of replicas. It never forbids a drain for good,
not even of a pool's only worker: an evicted worker hands its streams over and its successor starts elsewhere.
"""

from typing import Any

from tierline.api.names import LABEL_FLEET, LABEL_MANAGED_BY, LABEL_POOL, MANAGED_BY, label_value
from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.worker_pod import owner_reference


def disruption_budget(pool: ObjectIdentity, fleet: str, max_unavailable: int) -> dict[str, Any]:
    """Return the budget; `max_unavailable` is what the pool's own rollouts may take out of service."""
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_FLEET: label_value(fleet), LABEL_POOL: label_value(pool.name)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": pool.name,
            "namespace": pool.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(pool)],
        },
        "spec": {
            "maxUnavailable": max(1, max_unavailable),
            "selector": {"matchLabels": {LABEL_POOL: label_value(pool.name)}},
        },
    }
