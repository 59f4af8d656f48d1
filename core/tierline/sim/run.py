"""A scenario run under one policy, and its result as one document."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline.api.meta import ObjectMeta
from tierline.api.policy import CompiledPolicy, TenantPolicy, compile_policy
from tierline.api.tier import SLOTier
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits
from tierline.sim.faults import Faults, Silence, Slowdown, WorkerLoss
from tierline.sim.fleet import FleetSimulation
from tierline.sim.ladder import Policy
from tierline.sim.oracle import best_in_hindsight
from tierline.sim.presets import PRESETS, fixed_lengths
from tierline.sim.recorded import Recording, read_recording
from tierline.sim.scenario import InvalidScenario, Scenario, TenantSection, TrafficSection
from tierline.sim.setup import FleetRun, FleetSetup
from tierline.sim.trace import read_trace
from tierline.sim.workload import PlannedRequest, TenantTraffic, plan_workload
from tierline.telemetry.goodput import met
from tierline.telemetry.records import ClusterFacts, NodeUse, Reclaim, RequestRecord, TenantShare, TierTarget
from tierline.telemetry.scorecard import Scorecard, build_scorecard

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a run yields; all of it follows from the scenario, the policy and the seed."""

    scenario: Scenario
    policy: Policy
    seed: int
    fleet_run: FleetRun
    records: tuple[RequestRecord, ...]
    facts: ClusterFacts

    def scorecard(self) -> Scorecard:
        """Compute the scorecard, which takes about as long as the run."""
        return build_scorecard(self.records, self.facts)

    def document(self, scorecard: Scorecard) -> dict[str, Any]:
        """Return the result with its scorecard as plain JSON values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scenario": self.scenario.name,
            "policy": self.policy.name,
            "seed": self.seed,
            "simulated_ms": round(self.fleet_run.duration_ms, 4),
            "workers": {
                worker.name: {
                    "iterations": worker.iterations,
                    "busy_share": round(worker.busy_ms / max(self.fleet_run.duration_ms, 1.0), 4),
                }
                for worker in self.fleet_run.workers
            },
            "scorecard": scorecard.document(),
        }


def simulate(scenario: Scenario, policy: Policy, seed: int, folder: Path) -> SimulationResult:
    """Run `scenario`; recordings are looked for in `folder`.

    Raises `InvalidScenario` or `InvalidRecording`.
    """
    compiled = compiled_tiers(scenario)
    workload = planned_requests(scenario, seed, folder)
    setup = _setup(scenario, compiled)
    if policy.clairvoyant:
        targets = {target.name: target for target in tier_targets(compiled)}
        run = best_in_hindsight(setup, workload, lambda each: _late(each, targets))
    else:
        run = FleetSimulation(setup, policy, workload).run()
    records = tuple(request.record() for request in run.requests)
    return SimulationResult(scenario, policy, seed, run, records, _facts(scenario, compiled, run))


def compiled_tiers(scenario: Scenario) -> CompiledPolicy:
    """Compile the scenario's tiers as the gateway does; raises `InvalidScenario`."""
    tiers = [SLOTier(metadata=ObjectMeta(name=tier.name), spec=tier.spec) for tier in scenario.tiers]
    compiled = compile_policy(tiers, (), ())
    if compiled.problems:
        raise InvalidScenario(f"{scenario.name}: {'; '.join(str(problem) for problem in compiled.problems)}")
    return compiled


def planned_requests(scenario: Scenario, seed: int, folder: Path) -> tuple[PlannedRequest, ...]:
    """Return all requests in the order of their arrival; raises `InvalidScenario` or `InvalidRecording`."""
    generated = [_tenant_traffic(source) for source in scenario.traffic if source.preset is not None]
    planned = list(plan_workload(generated, scenario.seconds, seed))
    for source in scenario.traffic:
        if source.csv is not None:
            recording = Recording(folder / source.csv, source.tier, source.tenant, source.from_seconds, source.speed)
            planned.extend(read_recording(recording, scenario.seconds))
        if source.trace is not None:
            planned.extend(read_trace(folder / source.trace, source.from_seconds, source.speed, scenario.seconds))
    _check_known("tenants", {tenant.name for tenant in scenario.tenants}, {each.tenant for each in planned}, scenario)
    _check_known("tiers", {tier.name for tier in scenario.tiers}, {each.tier for each in planned}, scenario)
    return tuple(sorted(planned, key=lambda request: (request.at_ms, request.tenant)))


def _check_known(kind: str, known: set[str], named: set[str], scenario: Scenario) -> None:
    strangers = sorted(named - known)
    if strangers:
        raise InvalidScenario(f"{scenario.name}: {kind} must list {', '.join(strangers)}, whom a recording names")


def _tenant_traffic(source: TrafficSection) -> TenantTraffic:
    assert source.tenant is not None, "checked with the scenario"
    assert source.tier is not None, "checked with the scenario"
    assert source.requests_per_second is not None, "checked with the scenario"
    preset = fixed_lengths(PRESETS[source.preset or ""], source.prompt_tokens, source.output_tokens)
    return TenantTraffic(
        tenant=source.tenant,
        tier=source.tier,
        requests_per_second=source.requests_per_second,
        preset=preset,
        prompt_scale=source.prompt_scale,
        output_scale=source.output_scale,
        max_tokens=source.max_tokens,
        start_seconds=source.start_seconds,
        end_seconds=float("inf") if source.end_seconds is None else source.end_seconds,
    )


def _setup(scenario: Scenario, compiled: CompiledPolicy) -> FleetSetup:
    engine, latency = scenario.workers.engine, scenario.workers.latency
    return FleetSetup(
        tiers=compiled.tiers,
        tenants={tenant.name: tenant_policy(tenant, tuple(compiled.tiers)) for tenant in scenario.tenants},
        limits=EngineLimits(
            max_running_requests=engine.max_running_requests,
            max_batched_tokens=engine.max_batched_tokens,
            max_model_tokens=engine.max_model_tokens,
            block_tokens=engine.block_tokens,
            total_blocks=engine.kv_cache_blocks,
        ),
        truth=Coefficients(
            latency.iteration_ms,
            latency.prefill_token_ms,
            latency.attention_pair_ms,
            latency.decode_ms,
            latency.kv_token_ms,
        ),
        workers=scenario.workers.count,
        noise_percent=latency.noise_percent,
        faults=_faults(scenario),
    )


def _faults(scenario: Scenario) -> Faults:
    losses: list[WorkerLoss] = []
    slowdowns: list[Slowdown] = []
    silences: list[Silence] = []
    for fault in scenario.faults:
        until_ms = (fault.until_seconds or 0.0) * 1000
        if fault.lost_at_seconds is not None:
            losses.append(WorkerLoss(fault.worker, fault.lost_at_seconds * 1000))
        if fault.slow_from_seconds is not None:
            slowdowns.append(Slowdown(fault.worker, fault.slow_from_seconds * 1000, until_ms, fault.factor))
        if fault.silent_from_seconds is not None:
            silences.append(Silence(fault.worker, fault.silent_from_seconds * 1000, until_ms))
    return Faults(losses, slowdowns, silences)


def tenant_policy(tenant: TenantSection, tiers: tuple[str, ...]) -> TenantPolicy:
    """Return what a gateway knows of the tenant, who may use all `tiers`."""
    return TenantPolicy(
        namespace="",
        tenant=tenant.name,
        billing_tier="",
        weight=tenant.weight,
        tiers=tiers,
        default_tier=tiers[0],
        api_key_refs=(),
        tokens_per_minute=tenant.limits.tokens_per_minute,
        requests_per_minute=tenant.limits.requests_per_minute,
        max_concurrent_requests=tenant.limits.max_concurrent_requests,
        max_service_difference_tokens=tenant.max_service_difference_tokens,
        cache_sharing="Isolated",
        max_kv_cache_percent=tenant.limits.max_kv_cache_percent,
    )


def tier_targets(compiled: CompiledPolicy) -> tuple[TierTarget, ...]:
    """Return what each tier promises, for the scorecard."""
    return tuple(
        TierTarget(
            tier.name,
            tier.ttft_deadline_ms,
            tier.tpot_budget_ms,
            tier.deadline_ms,
            tier.attainment_percent,
            tier.priority,
        )
        for tier in compiled.tiers.values()
    )


def _late(run: FleetRun, targets: Mapping[str, TierTarget]) -> frozenset[int]:
    """Return the numbers of the requests that did not meet their tier."""
    numbered = enumerate(run.requests)
    return frozenset(number for number, each in numbered if not met(each.record(), targets[each.planned.tier]))


def _facts(scenario: Scenario, compiled: CompiledPolicy, run: FleetRun) -> ClusterFacts:
    lost_ms = {f"worker-{loss.worker}": loss.at_ms for loss in _faults(scenario).losses}
    return ClusterFacts(
        duration_ms=run.duration_ms,
        tiers=tier_targets(compiled),
        tenants=tuple(TenantShare(tenant.name, tenant.weight) for tenant in scenario.tenants),
        nodes=tuple(
            NodeUse(
                worker.name,
                "zone-a",
                "on-demand",
                min(run.duration_ms, lost_ms.get(worker.name, run.duration_ms)) / 1000,
                lost_ms.get(worker.name),
            )
            for worker in run.workers
        ),
        reclaims=tuple(
            Reclaim(name, name, lost_ms[name], lost_ms[name], streams)
            for name, streams in run.streams_lost_with.items()
        ),
    )
