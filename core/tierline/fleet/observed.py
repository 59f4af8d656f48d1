"""What the planners see of the cluster: frozen snapshots, without anything that only the API server cares about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class ObservedNode:
    """A node, reduced to what decides whether a worker on it can be counted on.

    `taints` maps a taint's key to its value; `true_conditions` are the types of the conditions whose status is True.
    """

    name: str
    ready: bool = True
    taints: Mapping[str, str] = field(default_factory=dict)
    true_conditions: frozenset[str] = frozenset()
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A worker pod. Times are epoch milliseconds; `failure` says in words why its container does not run."""

    name: str
    uid: str
    attempt: int
    revision: str
    created_ms: int
    node: str = ""
    scheduled_ms: int | None = None
    phase: str = "Pending"
    ready: bool = False
    terminating: bool = False
    finished_ms: int | None = None
    evacuate_by_ms: int | None = None
    failure: str = ""

    @property
    def finished(self) -> bool:
        return self.phase in {"Failed", "Succeeded"}


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """The object that a plan is for; `conditions` are its status conditions as they stand in the cluster."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int = 1
    deleting: bool = False
    conditions: tuple[Manifest, ...] = ()

    def asks_as(self, live: Manifest) -> bool:
        """Whether `live`, the object at another moment, has the same spec."""
        return self.generation == int(live["metadata"].get("generation", 1))


@dataclass(frozen=True, slots=True)
class Reference:
    """One object to delete: exactly the one with this uid, and no successor of the same name."""

    kind: str
    namespace: str
    name: str
    uid: str
