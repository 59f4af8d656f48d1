"""What the demo runs with."""

from dataclasses import dataclass
from pathlib import Path

from tierline_devcluster.nodes import NodeSpec

CLUSTER_NAME = "demo"
SYSTEM_NAMESPACE = "tierline-system"
NAMESPACE = "default"
RELEASE = "tierline"

NODES = (
    NodeSpec("on-demand-a", "zone-a", "on-demand"),
    NodeSpec("on-demand-b", "zone-b", "on-demand"),
    NodeSpec("spot-b", "zone-b", "spot"),
    NodeSpec("spot-c", "zone-c", "spot"),
)

NOTICE_SECONDS = 6
"""Time between the spot notice and the end of the node: shorter than any cloud gives."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`sources` holds the chart and the examples; `seconds` is the length of the workload."""

    out: Path
    sources: Path
    cache_dir: Path
    seconds: float = 45.0
    seed: int = 1
    keep: bool = False

    @property
    def chart(self) -> Path:
        return self.sources / "charts" / "tierline"

    @property
    def examples(self) -> Path:
        return self.sources / "examples"
