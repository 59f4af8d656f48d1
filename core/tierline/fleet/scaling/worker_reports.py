"""What workers tell of themselves beside their load: whether they started warm, and which models their node has."""

from collections import defaultdict
from collections.abc import Mapping

from tierline.fleet.scaling.signals import Reading
from tierline.telemetry import worker_metrics


def started_warm(reading: Reading) -> Mapping[str, bool]:
    """Return by pod whether its node had the weights before it started."""
    return {it.pod: it.value > 0 for it in reading.samples if it.name == worker_metrics.STARTED_WARM}


def cached_weights(reading: Reading) -> Mapping[str, Mapping[str, int]]:
    """Return by pod the bytes of each model that its node has."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for it in reading.samples:
        if it.name == worker_metrics.CACHED_WEIGHTS_BYTES:
            found[it.pod][it.label("source")] = int(it.value)
    return found
