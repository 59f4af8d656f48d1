"""From nodes and pods as JSON to rooms and placed workers."""

from collections.abc import Iterable, Mapping
from typing import Any

from tierline.api.names import LABEL_ACCELERATOR, LABEL_CAPACITY_TYPE, LABEL_ZONE
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.market import Market, Supply
from tierline.fleet.placement.planner import PlacedPod
from tierline.fleet.placement.room import Need, NodeRoom
from tierline.fleet.placement.slot_pod import ANNOTATION_SLOT, read_slot
from tierline.fleet.placement.spot_notices import evacuation_deadline_ms
from tierline.fleet.quantities import amount
from tierline.fleet.reading import read_node, read_pod

GPU_RESOURCE = "nvidia.com/gpu"


def market_of(node: Manifest) -> tuple[Supply, Market]:
    """Return what a node's labels say it belongs to; a node without them is an ordinary one."""
    labels = node["metadata"].get("labels", {})
    supply = Supply.SPOT if labels.get(LABEL_CAPACITY_TYPE) == Supply.SPOT.value else Supply.ON_DEMAND
    return supply, Market(labels.get(LABEL_ZONE, ""), labels.get(LABEL_ACCELERATOR, ""))


def takes_pods(node: Manifest, now_ms: int) -> bool:
    """Say whether new workers may be sent to a node: it answers, is not cordoned and not about to go."""
    seen = read_node(node)
    cordoned = bool(node.get("spec", {}).get("unschedulable"))
    return seen.ready and not cordoned and evacuation_deadline_ms(seen, now_ms) is None


def read_room(node: Manifest, pods: Iterable[Manifest]) -> NodeRoom:
    """Return what is free on a node beside our own `pods` on it; only workers are movable."""
    supply, market = market_of(node)
    total = _need(node.get("status", {}).get("allocatable", {}))
    needs = {pod["metadata"]["uid"]: read_need(pod) for pod in pods}
    return NodeRoom(node["metadata"]["name"], supply, market, total, total - sum(needs.values(), Need()), needs)


def read_need(pod: Manifest) -> Need:
    """Return what a pod's containers request."""
    asked = (it.get("resources", {}) for it in pod.get("spec", {}).get("containers", ()))
    return sum((_need({**it.get("limits", {}), **it.get("requests", {})}) for it in asked), Need())


def placed_pod(pod: Manifest, node: Manifest | None, now_ms: int) -> PlacedPod:
    """Return where a worker is: by its node once it has one, by its slot until then."""
    seen = read_pod(pod)
    if node is not None:
        supply: Supply | None
        supply, market = market_of(node)
    else:
        slot = read_slot(pod["metadata"].get("annotations", {}).get(ANNOTATION_SLOT, ""))
        supply, market = slot.supply, slot.market
    age_ms = max(now_ms - seen.created_ms, 0)
    waiting_ms = 0 if seen.node else max(age_ms, 1)
    return PlacedPod(seen.uid, supply, market, seen.ready, waiting_ms, age_ms, seen.node)


def _need(quantities: Mapping[str, Any]) -> Need:
    gpus, cpu, memory = (amount(quantities.get(name, "0")) or 0 for name in (GPU_RESOURCE, "cpu", "memory"))
    return Need(int(gpus), int(cpu * 1000), int(memory))
