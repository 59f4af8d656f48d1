"""From a worker's pod and node as JSON to how far its start has come."""

from tierline.api.names import LABEL_ACCELERATOR
from tierline.fleet.moments import epoch_ms
from tierline.fleet.observed import Manifest
from tierline.fleet.reading import read_pod
from tierline.fleet.scaling.cold_starts import StartSight


def read_start(pod: Manifest, node: Manifest | None, model: str) -> StartSight:
    seen = read_pod(pod)
    became = {it["type"]: it.get("lastTransitionTime") for it in pod.get("status", {}).get("conditions", ())}
    accelerator = node["metadata"].get("labels", {}).get(LABEL_ACCELERATOR, "") if node is not None else ""
    ready_ms = epoch_ms(became.get("Ready")) if seen.ready else None
    return StartSight(seen.uid, model, accelerator, seen.created_ms, seen.scheduled_ms, ready_ms)
