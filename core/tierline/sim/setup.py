"""What a simulation is made of, besides its policy and its requests, and what comes of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits
from tierline.sim.faults import NO_FAULTS, Faults
from tierline.sim.noise import Noise
from tierline.sim.requests import SimulatedRequest
from tierline.sim.worker import SimulatedWorker


@dataclass(frozen=True, slots=True)
class FleetSetup:
    """A fleet of workers that are alike, and whom it serves; each one's iterations vary by `noise_percent`."""

    tiers: Mapping[str, TierPolicy]
    tenants: Mapping[str, TenantPolicy]
    limits: EngineLimits
    truth: Coefficients
    workers: int
    faults: Faults = NO_FAULTS
    noise_percent: float = 0.0

    def new_workers(self, limits: EngineLimits, planner: type[BatchPlanner]) -> Iterator[SimulatedWorker]:
        """Yield the workers with the `limits` and the planner of the policy that is simulated."""
        for index in range(self.workers):
            slow, noise = self.faults.slowdowns_of(index), Noise(self.noise_percent, index)
            yield SimulatedWorker(f"worker-{index}", limits, self.truth, planner, slowdowns=slow, noise=noise)


@dataclass(frozen=True, slots=True)
class FleetRun:
    """What came of it; `streams_lost_with` names for each lost worker the streams that moved."""

    requests: tuple[SimulatedRequest, ...]
    workers: tuple[SimulatedWorker, ...]
    duration_ms: float
    streams_lost_with: Mapping[str, tuple[str, ...]]
