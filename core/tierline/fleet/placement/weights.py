"""Which nodes have which models, and a new worker's preference for them.

Workers tell what their node has fetched; the newest word of a node counts, since workers there share one cache. A node
that has the weights saves a worker the fetch, so it is preferred: among offers that are alike in everything else, and
by a preferred node affinity, which kube-scheduler weighs and may overrule. It is never a requirement: capacity
elsewhere now is worth more than a warm start later.

Inputs: what workers told, the nodes that exist. Bounds: `MOST_NODES` nodes with `MOST_MODELS` models each are
remembered; `MOST_PREFERRED` nodes enter a pod. When not to use it: where workers have no cache that outlives them,
nobody tells of any and nothing changes.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tierline.fleet.placement.slot_pod import LABEL_HOSTNAME

MOST_NODES = 1_000
MOST_MODELS = 32
MOST_PREFERRED = 32
AFFINITY_WEIGHT = 50


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model as nodes have it: its bytes and their names, sorted."""

    bytes: int = 0
    nodes: tuple[str, ...] = ()


NOWHERE = CachedModel()


@dataclass(frozen=True, slots=True)
class NodeWeights:
    """Bytes by node and model source."""

    nodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def told(self, node: str, models: Mapping[str, int]) -> "NodeWeights":
        """Return what is known once a worker has told what its node has; the node told of longest ago goes."""
        kept = {source: models[source] for source in sorted(models)[:MOST_MODELS]}
        if self.nodes.get(node) == kept:
            return self
        others = {name: it for name, it in self.nodes.items() if name != node}
        return NodeWeights({**dict([*others.items()][-(MOST_NODES - 1) :]), node: kept})

    def among(self, existing: Collection[str]) -> "NodeWeights":
        """Forget nodes that are gone."""
        if self.nodes.keys() <= set(existing):
            return self
        return NodeWeights({name: it for name, it in self.nodes.items() if name in existing})

    def by_model(self) -> Mapping[str, CachedModel]:
        """Return where each model is."""
        holders: dict[str, dict[str, int]] = defaultdict(dict)
        for name, models in self.nodes.items():
            for source, size in models.items():
                holders[source][name] = size
        return {source: CachedModel(max(it.values()), tuple(sorted(it))) for source, it in holders.items()}


def preferring(pod: Mapping[str, Any], hostnames: Collection[str]) -> dict[str, Any]:
    """Return the pod with a preference for nodes of these host names; without any the pod itself."""
    if not hostnames:
        return dict(pod)
    values = sorted(hostnames)[:MOST_PREFERRED]
    term = {"matchExpressions": [{"key": LABEL_HOSTNAME, "operator": "In", "values": values}]}
    spec = pod["spec"]
    affinity = spec.get("affinity", {})
    node = affinity.get("nodeAffinity", {})
    preferred = [
        *node.get("preferredDuringSchedulingIgnoredDuringExecution", ()),
        {"weight": AFFINITY_WEIGHT, "preference": term},
    ]
    node = {**node, "preferredDuringSchedulingIgnoredDuringExecution": preferred}
    return {**pod, "spec": {**spec, "affinity": {**affinity, "nodeAffinity": node}}}
