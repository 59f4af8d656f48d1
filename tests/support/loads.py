"""Short ways to say how a fleet fares, and a fleet that follows its plans."""

from dataclasses import replace

from tierline.fleet.scaling.capacity import RequestShape, WorkerShape
from tierline.fleet.scaling.load import FleetLoad, PoolLoad, TierLoad
from tierline.fleet.scaling.planner import ScalingMemory, ScalingPlan, ScalingPolicy, plan_scaling
from tierline.scheduling.latency import Coefficients

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)
SHAPE = RequestShape(1000, 200)
SECOND = 1000


def worker(role: str = "Unified", **sizes: object) -> WorkerShape:
    standard = {"max_running_requests": 256, "max_batched_tokens": 8192, "kv_tokens": 400_000}
    return WorkerShape(role, H100_8B, **{**standard, **sizes})  # type: ignore[arg-type]


def tier(per_second: float = 0.0, **seen: object) -> TierLoad:
    standard = {"shape": SHAPE if per_second or seen.get("queued") else None, "tpot_target_ms": 50.0}
    return TierLoad("chat", per_second, **{**standard, **seen})  # type: ignore[arg-type]


def pool(replicas: int = 2, low: int = 1, high: int = 20, **seen: object) -> PoolLoad:
    standard = {"name": "main", "ready": replicas, "worker": worker()}
    return PoolLoad(low=low, high=high, replicas=replicas, **{**standard, **seen})  # type: ignore[arg-type]


def fleet(*pools: PoolLoad, **seen: object) -> FleetLoad:
    return FleetLoad((tier(**seen),), pools or (pool(),))  # type: ignore[arg-type]


class Following:
    """A fleet that does what its plans say; workers are ready at once unless `ready` says otherwise."""

    def __init__(self, *pools: PoolLoad, policy: ScalingPolicy | None = None) -> None:
        self.pools = pools or (pool(),)
        self.policy = policy or ScalingPolicy()
        self.memory = ScalingMemory()
        self.now_ms = 1

    def look(self, seconds: float = 15.0, **seen: object) -> ScalingPlan:
        """Let time pass, plan, and carry the plan out."""
        self.now_ms += int(seconds * SECOND)
        plan, self.memory = plan_scaling(self.policy, self.memory, fleet(*self.pools, **seen), self.now_ms)
        sizes = {it.name: it.replicas for it in plan.decisions}
        self.pools = tuple(
            replace(it, replicas=sizes[it.name], ready=sizes[it.name] if it.ready == it.replicas else it.ready)
            for it in self.pools
        )
        return plan

    def settle(self, looks: int = 40, **seen: object) -> int:
        for _ in range(looks):
            plan = self.look(**seen)
        return plan.decisions[0].replicas
