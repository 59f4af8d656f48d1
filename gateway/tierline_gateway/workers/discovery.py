"""Which workers exist; from the pod watch in production, from a list in tests and benchmarks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tierline.api.serving import Role


@dataclass(frozen=True, slots=True)
class WorkerEndpoint:
    """A worker pod. `serving` is false when it is not Ready or is being deleted.

    `evacuate_by_epoch_ms` is when its streams must have left, None when no deadline is published. `pool` and `revision`
    say what it was made from, for who compares a change with what was before; `role` is its phase at the moment.
    """

    name: str
    host: str
    port: int
    serving: bool = True
    evacuate_by_epoch_ms: int | None = None
    pool: str = ""
    revision: str = ""
    role: Role = "Unified"


class WorkerDiscovery(Protocol):
    """Gives the workers that exist now."""

    @property
    def workers(self) -> Iterable[WorkerEndpoint]: ...


@dataclass
class StaticDiscovery:
    """A list that whoever holds this object may change."""

    workers: list[WorkerEndpoint] = field(default_factory=list)
