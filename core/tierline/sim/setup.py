"""What a simulation is made of, besides its policy and its requests, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits
from tierline.sim.faults import NO_FAULTS, Faults
from tierline.sim.requests import SimulatedRequest
from tierline.sim.worker import SimulatedWorker


@dataclass(frozen=True, slots=True)
class FleetSetup:
    """A fleet of workers that are alike, and whom it serves."""

    tiers: Mapping[str, TierPolicy]
    tenants: Mapping[str, TenantPolicy]
    limits: EngineLimits
    truth: Coefficients
    workers: int
    faults: Faults = NO_FAULTS


@dataclass(frozen=True, slots=True)
class FleetRun:
    """What came of it; `streams_lost_with` names for each lost worker the streams that moved."""

    requests: tuple[SimulatedRequest, ...]
    workers: tuple[SimulatedWorker, ...]
    duration_ms: float
    streams_lost_with: Mapping[str, tuple[str, ...]]
