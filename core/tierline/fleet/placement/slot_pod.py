"""A slot in Kubernetes' words: node affinity for supply, zone and accelerator, and tolerations for the taints of both.

A slot narrows what the pool's pods may use anyway, so it is added to the template without changing its revision. What a
pod was made for is noted on it, so that a pod without a node can be told apart from others.
"""

from collections.abc import Mapping
from typing import Any

from tierline.api.names import LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_ZONE
from tierline.fleet.placement.market import Market, Slot, Supply

ANNOTATION_SLOT = "tierline.dev/slot"
LABEL_HOSTNAME = "kubernetes.io/hostname"
_SUPPLIES = {supply.value: supply for supply in Supply}

SPOT_TAINTS: tuple[str, ...] = (
    "cloud.google.com/gke-spot",
    "cloud.google.com/gke-preemptible",
    "kubernetes.azure.com/scalesetpriority",
    "karpenter.sh/capacity-type",
    "tierline.dev/capacity-type",
)
"""Keys of the taints by which providers keep pods off spot nodes that do not ask for them."""

ACCELERATOR_TAINTS: tuple[str, ...] = ("nvidia.com/gpu",)


def slotted(pod: Mapping[str, Any], slot: Slot) -> dict[str, Any]:
    """Return the pod bound to a slot; one for an open slot is the pod itself."""
    expressions = list(_expressions(slot))
    tolerations = _tolerations(pod, slot)
    spec = dict(pod["spec"])
    if expressions:
        spec["affinity"] = _narrowed(spec.get("affinity", {}), expressions)
    if tolerations:
        spec["tolerations"] = [*spec.get("tolerations", ()), *tolerations]
    annotations = {**pod["metadata"].get("annotations", {}), ANNOTATION_SLOT: written(slot)}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}, "spec": spec}


def written(slot: Slot) -> str:
    """Return the slot as the annotation says it: supply/zone/accelerator."""
    return f"{slot.supply.value if slot.supply else ''}/{slot.market.zone}/{slot.market.accelerator}"


def read_slot(text: str) -> Slot:
    """Return the slot that an annotation says; anything else is an open slot."""
    parts = text.split("/")
    if len(parts) != 3:
        return Slot()
    supply, zone, accelerator = parts
    return Slot(_SUPPLIES.get(supply), Market(zone, accelerator))


def _expressions(slot: Slot) -> list[dict[str, Any]]:
    chosen: list[dict[str, Any]] = []
    if slot.supply is not None:
        # Nodes without the label are ordinary ones, so on-demand is "not spot".
        operator = "In" if slot.supply is Supply.SPOT else "NotIn"
        chosen.append({"key": LABEL_CAPACITY_TYPE, "operator": operator, "values": [Supply.SPOT.value]})
    if slot.market.zone:
        chosen.append({"key": LABEL_ZONE, "operator": "In", "values": [slot.market.zone]})
    if slot.market.accelerator:
        chosen.append({"key": LABEL_ACCELERATOR, "operator": "In", "values": [slot.market.accelerator]})
    if slot.avoid_node:
        chosen.append({"key": LABEL_HOSTNAME, "operator": "NotIn", "values": [slot.avoid_node]})
    return chosen


def _narrowed(affinity: Mapping[str, Any], expressions: list[dict[str, Any]]) -> dict[str, Any]:
    """Every term of the template's own requirement gets the slot's: terms are alternatives."""
    node = dict(affinity.get("nodeAffinity", {}))
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution", {"nodeSelectorTerms": [{}]})
    terms = [
        {**term, "matchExpressions": [*term.get("matchExpressions", ()), *expressions]}
        for term in required["nodeSelectorTerms"]
    ]
    node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    return {**affinity, "nodeAffinity": node}


def _tolerations(pod: Mapping[str, Any], slot: Slot) -> list[dict[str, Any]]:
    limits = [it.get("resources", {}).get("limits", {}) for it in pod["spec"]["containers"]]
    keys = [*(SPOT_TAINTS if slot.supply is Supply.SPOT else ())]
    keys += [key for key in ACCELERATOR_TAINTS if any(key in limit for limit in limits)]
    return [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]
