"""What users want, as the planners take it: plain dataclasses, already checked, with every default filled in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Capacity(Enum):
    """Which price class of node a worker may run on."""

    ANY = "Any"
    PREFER_SPOT = "PreferSpot"
    ON_DEMAND = "OnDemand"
    SPOT = "Spot"


class ZoneSpread(Enum):
    """How strictly the workers of a pool are spread over zones; the value is Kubernetes' word for it."""

    IGNORED = ""
    PREFERRED = "ScheduleAnyway"
    REQUIRED = "DoNotSchedule"


@dataclass(frozen=True, slots=True)
class WantedWorker:
    """One worker of a pool, whichever replica it is. Quantities are Kubernetes quantities as text.

    `environment` holds the engine's settings as the worker process reads them; `accelerators` are node labels of which
    one must hold, in order of preference (none: any node).
    """

    environment: Mapping[str, str]
    role: str
    cpu: str | None
    memory: str | None
    gpus: int
    accelerators: tuple[str, ...]
    capacity: Capacity
    zone_spread: ZoneSpread
    drain_seconds: int


@dataclass(frozen=True, slots=True)
class WantedPool:
    """One pool of a fleet; `spec` is the WorkerPool's spec as JSON, without the replicas."""

    name: str
    min_replicas: int
    max_replicas: int
    spec: Mapping[str, Any]

    def bounded(self, replicas: int) -> int:
        return min(max(replicas, self.min_replicas), self.max_replicas)


@dataclass(frozen=True, slots=True)
class SharedStore:
    """Where gateways share state, and the name and key of the Secret with its password, None where it needs none."""

    url: str
    password_secret: tuple[str, str] | None = None


class AnswersIn(Enum):
    """Where gateways keep what they answer later."""

    NOWHERE = "Nowhere"
    SCRATCH = "Scratch"
    CLAIM = "Claim"
    STORE = "Store"


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """What is answered later, and where it is kept; `claim` is the PersistentVolumeClaim's name."""

    place: AnswersIn = AnswersIn.SCRATCH
    mebibytes: int = 2048
    claim: str = ""


@dataclass(frozen=True, slots=True)
class WantedFleet:
    """A fleet's desired state. `scales` is False where replicas belong to somebody else (`scaling.mode: External`).

    `state_store` is None where each gateway is alone.
    """

    tier_refs: tuple[str, ...]
    pools: tuple[WantedPool, ...]
    gateway_replicas: int
    scales: bool
    gateway_processes: int = 1
    state_store: SharedStore | None = None
    answers: StoredAnswers = StoredAnswers()


@dataclass(frozen=True, slots=True)
class Images:
    """Images and cluster-wide settings that the operator puts into pods; `priority_class` is empty where none is.

    `weights_dir` is the folder in which nodes keep models, empty where they keep none; with a limit (0: none).
    """

    worker: str
    gateway: str
    priority_class: str = ""
    weights_dir: str = ""
    weights_limit_mebibytes: int = 0
