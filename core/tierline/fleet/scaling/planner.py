"""How many replicas each pool of a fleet should have: sized by the latency model, corrected by what is measured.

    need = ceil((forecast(cold start) + queued / DRAIN_SECONDS) / (utilisation * rate of one worker))

1. Up at once, to the need; what has queued up adds as much as the forecast at most. Where nothing has been starting for
   a minute and the load is not small, a tier that misses its target (pressure above 1) adds its share: the model may be
   wrong, the clients are right. llm-d's SLO-aware scaling has this part only.
2. Down only to the largest need of the stabilization window, and only if what is measured, grown as the model says it
   grows on fewer workers, still keeps the targets. A worker that is pending never keeps another from going.
3. Prefill is sized by prompts, decode by the pace; a worker that one of the two can spare is moved (`flips`) before one
   is added: the accelerators stay the same, so no window has to pass.
4. A pool with minimum 0 has none after `idle_seconds` without a request; a request that waits brings it back at once.
5. A turn from up to down waits until no turn was made for an hour. A turn up is always allowed, so within any hour the
   direction changes twice at most.

Inputs: a fleet's load and what was remembered. Bounds: the pool's minimum and maximum. When not to use it: with
`scaling.mode: External`, where others write replicas. Sources: NVIDIA Dynamo's planner (its formula and its documented
faults: averages, cold workers in the fit, oscillation on ramps), Kubernetes' HPA (stabilization window).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierline.fleet.scaling.capacity import highest_rate, latencies_at
from tierline.fleet.scaling.forecast import Trend
from tierline.fleet.scaling.load import FleetLoad, PoolLoad
from tierline.fleet.scaling.role_flip import RoleMove

DRAIN_SECONDS = 60.0
LOOK_BACK_MS = 60_000
"""Latencies are measured over this long: before that has passed they still speak of fewer workers."""

MOST_PRESSURE = 2.0
CALM_PRESSURE = 0.9
KV_LIMIT = 0.9
"""Mean share of KV in use from which requests begin to yield to each other, whatever their latencies still are."""

QUIET_LOAD = 0.3
"""Below this share of what its workers carry a fleet that misses targets would miss them with more workers too."""

INSENSITIVE = 1.05
"""Latency that grows by less is not a matter of how many workers there are."""

PRESSURE_SMOOTHING = 0.3
PERCENTILE = 0.95
TURN_MS = 3_600_000
TOLERANCE = 0.05
"""A need that one worker more would serve at a load only this far above the set-point is no need."""


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """What the fleet declares."""

    utilization: float = 0.75
    stabilization_ms: int = 300_000
    idle_ms: int = 600_000
    forecasts: bool = True


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """A pool's past: needs of the stabilization window by time, since when it is known, the last decision and
    direction, and when it turned."""

    since_ms: int | None = None
    target: int | None = None
    needs: tuple[tuple[int, int], ...] = ()
    direction: int = 0
    turned_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """A fleet's past; each plan returns the next one."""

    trend: Trend = field(default_factory=Trend)
    pressure: float = 0.0
    busy_ms: int | None = None
    started_ms: int | None = None
    pools: Mapping[str, PoolMemory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolDecision:
    """Replicas for one pool, and the figures behind them."""

    name: str
    replicas: int
    before: int
    need: int
    reason: str
    rate_of_one: float = 0.0


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """Decisions for all pools; `moves` are workers that change from one pool to another."""

    decisions: tuple[PoolDecision, ...]
    forecast_per_second: float
    pressure: float
    moves: tuple[RoleMove, ...] = ()

    @property
    def flips(self) -> int:
        """How many workers change their role."""
        return sum(move.workers for move in self.moves)


def plan_scaling(
    policy: ScalingPolicy, memory: ScalingMemory, load: FleetLoad, now_ms: int
) -> tuple[ScalingPlan, ScalingMemory]:
    """Return the replicas of every pool, and what to remember for the next plan."""
    trend = memory.trend.observed(load.per_second, now_ms)
    pressure = memory.pressure + PRESSURE_SMOOTHING * (_pressure(load) - memory.pressure)
    busy = load.per_second > 0 or load.queued > 0 or any(pool.running for pool in load.pools)
    busy_ms = now_ms if busy or memory.busy_ms is None else memory.busy_ms
    starting = any(pool.ready < pool.replicas for pool in load.pools)
    started_ms = now_ms if starting else memory.started_ms
    ahead = trend.ahead(load.cold_start_seconds) if policy.forecasts else trend.level
    backlog = load.queued / DRAIN_SECONDS
    scene = _Scene(
        policy,
        load,
        now_ms,
        demand=ahead + (min(backlog, ahead) if ahead else backlog),
        pressure=pressure,
        idle_ms=now_ms - busy_ms,
        is_measured=started_ms is None or now_ms - started_ms >= LOOK_BACK_MS,
    )
    past = memory.pools
    steps = [_step(scene, pool, need, past.get(pool.name, PoolMemory())) for pool, need in _needs(scene)]
    decisions, moves = _flipped(load, [decision for decision, _ in steps])
    plan = ScalingPlan(decisions, scene.demand, pressure, moves)
    return plan, ScalingMemory(trend, pressure, busy_ms, started_ms, {it.name: kept for (it, kept) in steps})


@dataclass(frozen=True, slots=True)
class _Scene:
    policy: ScalingPolicy
    load: FleetLoad
    now_ms: int
    demand: float
    pressure: float
    idle_ms: int
    is_measured: bool

    def rate_of_one(self, pool: PoolLoad) -> float:
        shape = self.load.shape
        if pool.worker is None or shape is None:
            return 0.0
        return highest_rate(pool.worker, shape, self.load.tpot_target_ms)


def _pressure(load: FleetLoad) -> float:
    """Return the worst of observed over targeted latencies and of KV in use over `KV_LIMIT`.

    Cut off: one very late request is not ten times as bad.
    """
    told = [it for tier in load.tiers for it in (tier.ttft_pressure, tier.tpot_pressure) if it is not None]
    told += [pool.kv_used / KV_LIMIT for pool in load.pools]
    return min(max(told, default=0.0), MOST_PRESSURE)


def _needs(scene: _Scene) -> Iterable[tuple[PoolLoad, int]]:
    """Yield each pool's need: pools of one role fill up in the order in which they are declared."""
    left: dict[str, float] = {}
    for pool in scene.load.pools:
        role = pool.worker.role if pool.worker else "Unified"
        demand = left.get(role, scene.demand)
        each = scene.policy.utilization * scene.rate_of_one(pool)
        need = _whole(demand / each) if each > 0 else pool.replicas if demand > 0 else 0
        left[role] = max(demand - pool.bounded(need) * each, 0.0)
        yield pool, max(need, _pressed(scene, pool))


def _whole(workers: float) -> int:
    return math.ceil(workers - TOLERANCE * max(workers, 1.0)) if workers > 0 else 0


def _pressed(scene: _Scene, pool: PoolLoad) -> int:
    """Return the need that missed targets tell of: judged only once all that was asked for has served for a while."""
    if scene.pressure <= 1 or not scene.is_measured or not pool.replicas:
        return 0
    carried = pool.replicas * scene.rate_of_one(pool)
    if carried and scene.load.per_second < QUIET_LOAD * carried and not scene.load.queued:
        return 0
    return math.ceil(pool.replicas * scene.pressure)


def _step(scene: _Scene, pool: PoolLoad, need: int, past: PoolMemory) -> tuple[PoolDecision, PoolMemory]:
    window = scene.now_ms - scene.policy.stabilization_ms
    # Who raised replicas besides us had a reason: for a window it counts as a need.
    raised = past.target is not None and pool.replicas > past.target
    needs = _remembered((*past.needs, (scene.now_ms, max(need, pool.replicas) if raised else need)), window)
    since_ms = scene.now_ms if past.since_ms is None else past.since_ms
    # What was needed before it was known to us nobody can tell: what is there may be it.
    known = since_ms <= window
    target, reason = _target(scene, pool, need, max(*(it for _, it in needs), 0 if known else pool.replicas))
    direction = (target > pool.replicas) - (target < pool.replicas)
    turns = tuple(at for at in past.turned_ms if scene.now_ms - at < TURN_MS)
    is_turn = bool(direction and past.direction and direction != past.direction)
    if is_turn and direction < 0 and turns and target > 0:
        target, reason, direction, is_turn = pool.replicas, "TurnedRecently", 0, False
    kept = PoolMemory(
        since_ms, target, needs, direction or past.direction, (*turns, scene.now_ms) if is_turn else turns
    )
    decision = PoolDecision(pool.name, target, pool.replicas, need, reason, scene.rate_of_one(pool))
    return decision, kept


def _remembered(needs: tuple[tuple[int, int], ...], since_ms: int) -> tuple[tuple[int, int], ...]:
    """Return the window's needs without those that a later one is not below: they can never be the largest again."""
    kept: list[tuple[int, int]] = []
    for at_ms, need in needs:
        while kept and kept[-1][1] <= need:
            kept.pop()
        kept.append((at_ms, need))
    return tuple(it for it in kept if it[0] >= since_ms)


def _target(scene: _Scene, pool: PoolLoad, need: int, largest: int) -> tuple[int, str]:
    waits = scene.load.queued > 0
    if pool.low == 0 and scene.idle_ms >= scene.policy.idle_ms and not waits:
        return 0, "Idle"
    if pool.replicas == 0:
        return (pool.bounded(max(need, 1)), "Woken") if waits or scene.load.per_second > 0 else (pool.low, "Idle")
    bounded = max(pool.bounded(need), 1)
    if bounded > pool.replicas:
        return bounded, "TargetsMissed" if need == _pressed(scene, pool) else "LoadGrows"
    return _downward(scene, pool, max(pool.bounded(largest), 1))


def _downward(scene: _Scene, pool: PoolLoad, lowest: int) -> tuple[int, str]:
    if pool.replicas > pool.high:
        return pool.high, "AboveMaximum"
    if lowest >= pool.replicas:
        return max(pool.replicas, pool.low), "Settled"
    while lowest < pool.replicas and pool.ready >= pool.replicas and not _keeps_targets(scene, pool, lowest):
        lowest += 1
    return lowest, "LoadFalls" if lowest < pool.replicas else "TargetsNear"


def _keeps_targets(scene: _Scene, pool: PoolLoad, fewer: int) -> bool:
    """Say whether the pressure that is measured would stay calm on fewer workers."""
    growth = _growth(scene, pool, fewer)
    return growth < INSENSITIVE or scene.pressure * growth <= CALM_PRESSURE


def _growth(scene: _Scene, pool: PoolLoad, fewer: int) -> float:
    """Return how much longer requests would take: by the model, or as the load on one worker grows."""
    shape, worker = scene.load.shape, pool.worker
    if shape is None or worker is None:
        return pool.replicas / fewer
    now = latencies_at(worker, shape, scene.load.per_second, pool.replicas, PERCENTILE)
    then = latencies_at(worker, shape, scene.load.per_second, fewer, PERCENTILE)
    if math.isinf(now.ttft_ms):
        return pool.replicas / fewer
    return max(then.ttft_ms / now.ttft_ms, then.tpot_ms / now.tpot_ms)


def _flipped(load: FleetLoad, decisions: list[PoolDecision]) -> tuple[tuple[PoolDecision, ...], tuple[RoleMove, ...]]:
    """Move what decode can spare to prefill and the other way round, instead of adding first and giving back later."""
    roles = {pool.name: pool.worker.role for pool in load.pools if pool.worker}
    pools = {pool.name: pool for pool in load.pools}
    chosen = {it.name: it for it in decisions}
    moves: list[RoleMove] = []
    for taker in (it for it in decisions if it.replicas > it.before and roles.get(it.name) in {"Prefill", "Decode"}):
        for giver in chosen.values():
            if roles.get(giver.name) in {None, "Unified", roles[taker.name]}:
                continue
            spare = giver.replicas - max(pools[giver.name].bounded(giver.need), 1)
            coming = sum(move.workers for move in moves if move.taker == taker.name)
            moved = max(min(spare, taker.replicas - taker.before - coming), 0)
            if moved:
                chosen[giver.name] = replace(giver, replicas=giver.replicas - moved, reason="RoleFlip")
                moves.append(RoleMove(giver.name, taker.name, moved))
    return tuple(chosen.values()), tuple(moves)
