"""What scaling and feasibility see of a fleet: traffic by tier, and its pools."""

from dataclasses import dataclass

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape


@dataclass(frozen=True, slots=True)
class TierLoad:
    """A tier's traffic at one fleet. Pressures are observed over targeted latency at the target's percentile, None
    where nothing was measured or promised; `tpot_target_ms` is the pace that is promised."""

    tier: str
    per_second: float = 0.0
    queued: float = 0.0
    shape: RequestShape | None = None
    ttft_pressure: float | None = None
    tpot_pressure: float | None = None
    tpot_target_ms: float | None = None


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """A pool: its bounds, the replicas wanted now, how many are ready, and what its workers are (None: not known)."""

    name: str
    low: int
    high: int
    replicas: int
    ready: int
    worker: WorkerShape | None = None
    running: float = 0.0
    kv_used: float = 0.0

    def bounded(self, replicas: int) -> int:
        return min(max(replicas, self.low), self.high)


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """A fleet at one moment."""

    tiers: tuple[TierLoad, ...]
    pools: tuple[PoolLoad, ...]
    cold_start_seconds: float = 60.0

    @property
    def per_second(self) -> float:
        return sum(tier.per_second for tier in self.tiers)

    @property
    def queued(self) -> float:
        return sum(tier.queued for tier in self.tiers)

    @property
    def shape(self) -> RequestShape | None:
        """Return the mean lengths over all tiers, None when no tier has told any."""
        told = [(max(tier.per_second, 1e-9), tier.shape) for tier in self.tiers if tier.shape is not None]
        if not told:
            return None
        weight = sum(share for share, _ in told)
        return RequestShape(
            sum(share * shape.prompt_tokens for share, shape in told) / weight,
            sum(share * shape.output_tokens for share, shape in told) / weight,
        )

    @property
    def tpot_target_ms(self) -> float | None:
        """Return the tightest pace among tiers with traffic: everyone in a batch goes at one pace."""
        paces = [tier.tpot_target_ms for tier in self.tiers if tier.tpot_target_ms and (tier.per_second or tier.queued)]
        return min(paces, default=None)
