"""Where the gateway gets its policy from; Kubernetes in production, a constant in tests and benchmarks."""

from dataclasses import dataclass
from typing import Protocol

from tierline.api.policy import CompiledPolicy
from tierline_gateway.keys import KeyTable


@dataclass(frozen=True)
class PolicySnapshot:
    """One consistent view: the compiled resources and the keys that were resolved for its tenants."""

    policy: CompiledPolicy
    keys: KeyTable


class PolicySource(Protocol):
    """Gives the newest snapshot, None before the first one exists."""

    @property
    def current(self) -> PolicySnapshot | None: ...


@dataclass
class StaticPolicySource:
    """A snapshot that whoever holds this object may replace."""

    current: PolicySnapshot | None
