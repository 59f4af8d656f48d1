"""The decision matrix: what a tier's objective implies for everything the tier does not say itself.

Framework §5: latency-critical work prefers small batches, preemption and speculation; throughput-heavy work prefers
large continuous batches and few preemptions; cost-sensitive work prefers spot capacity and offloading;
fairness-critical work prefers token-level accounting and never plain arrival order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Objective = Literal["Latency", "Throughput", "Cost", "Fairness"]
Overload = Literal["Reject", "Defer", "Degrade"]
Preemptible = Literal["Allow", "Forbid"]
PreemptionGranularity = Literal["Token", "Request"]
PreemptionSave = Literal["Auto", "CPU", "Disk", "Recompute"]
BatchingMode = Literal["Continuous", "Discrete", "Slice"]
Speculation = Literal["Auto", "Never"]
SpotUse = Literal["Allow", "Avoid", "Only"]
Locality = Literal["Prefer", "Ignore"]
ServiceOrder = Literal["Service", "Deadline"]


@dataclass(frozen=True)
class MatrixRow:
    """Defaults of one objective; every field can be overridden by the tier."""

    overload: Overload
    max_queue_ms: int
    preemptible: Preemptible
    granularity: PreemptionGranularity
    save: PreemptionSave
    batching: BatchingMode
    speculation: Speculation
    spot: SpotUse
    locality: Locality
    order: ServiceOrder


DECISION_MATRIX: Mapping[Objective, MatrixRow] = MappingProxyType(
    {
        "Latency": MatrixRow(
            "Reject", 10_000, "Forbid", "Token", "Auto", "Continuous", "Auto", "Avoid", "Ignore", "Service"
        ),
        "Throughput": MatrixRow(
            "Defer", 60_000, "Allow", "Request", "Auto", "Continuous", "Never", "Allow", "Prefer", "Service"
        ),
        "Cost": MatrixRow(
            "Defer", 600_000, "Allow", "Request", "Disk", "Continuous", "Never", "Allow", "Prefer", "Service"
        ),
        "Fairness": MatrixRow(
            "Reject", 60_000, "Allow", "Token", "Auto", "Continuous", "Auto", "Allow", "Prefer", "Service"
        ),
    }
)
