"""What was observed of a run: one record per request, and the facts of the cluster that served it.

All times are milliseconds on one clock that starts with the run. A request arrives when the gateway received it.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    REJECTED = "rejected"
    DEFERRED = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TierTarget:
    """What a tier promises each of its requests; None where it promises nothing.

    Token k (from 0) is due at arrival + `ttft_ms` + k * `tpot_ms`, all tokens at arrival + `deadline_ms`.
    `attainment_percent` of the requests must meet this.
    """

    name: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    deadline_ms: float | None = None
    attainment_percent: int = 99
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """A stay of a request on one worker. `recomputed_tokens` of its context were known before it came here."""

    worker: str
    started_ms: float
    ended_ms: float
    recomputed_tokens: int = 0


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as its client saw it.

    `demanded_tokens` is the length it would have had when served in full, None when a refusal hides it.
    `token_times_ms[k]` is when output token k reached the client; `ended_ms` when it was over, whatever came of it,
    None where that was not seen. `lost_tokens` and `doubled_tokens` come from the audit of its ids; `interrupted` says
    that a reclaimed node took its worker.
    """

    request_id: str
    tenant: str
    tier: str
    arrived_ms: float
    prompt_tokens: int
    demanded_tokens: int | None
    outcome: Outcome
    token_times_ms: tuple[float, ...] = ()
    placements: tuple[Placement, ...] = ()
    lost_tokens: int = 0
    doubled_tokens: int = 0
    interrupted: bool = False
    detail: str = ""
    ended_ms: float | None = None

    @property
    def ttft_ms(self) -> float | None:
        """Time to the first token, None when there was none."""
        return self.token_times_ms[0] - self.arrived_ms if self.token_times_ms else None

    @property
    def tpot_ms(self) -> float | None:
        """Mean time per output token after the first, None below two tokens."""
        count = len(self.token_times_ms)
        return (self.token_times_ms[-1] - self.token_times_ms[0]) / (count - 1) if count > 1 else None

    @property
    def gaps_ms(self) -> tuple[float, ...]:
        """Times between neighbouring tokens."""
        times = self.token_times_ms
        return tuple(later - earlier for earlier, later in pairwise(times))


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What a tenant is entitled to, relative to the others."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class NodeUse:
    """A node that was paid for during the run."""

    name: str
    zone: str
    capacity_type: Literal["spot", "on-demand"]
    seconds: float
    reclaimed_at_ms: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerSample:
    """A worker's state at one moment; None where it did not tell."""

    at_ms: float
    worker: str
    running_requests: int
    waiting_requests: int
    kv_used_share: float | None = None
    kv_internal_fragmentation: float | None = None
    busy_share: float | None = None


@dataclass(frozen=True, slots=True)
class Reclaim:
    """A spot node taken away: told at `noticed_ms`, gone at `gone_ms`; `streams` of its worker were mid-decode."""

    node: str
    worker: str
    noticed_ms: float
    gone_ms: float
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the cluster was, besides the requests: tiers, tenants, nodes, samples, reclaims, length of the run."""

    duration_ms: float
    tiers: tuple[TierTarget, ...]
    tenants: tuple[TenantShare, ...]
    nodes: tuple[NodeUse, ...] = ()
    samples: tuple[WorkerSample, ...] = ()
    reclaims: tuple[Reclaim, ...] = ()
