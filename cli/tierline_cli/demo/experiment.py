"""The measured part of the demo: load, reclaim and samples at the same time, then every witness asked."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import ClusterFacts, NodeUse, Reclaim, RequestRecord, WorkerSample
from tierline_cli.demo.client import Observation, TenantClients
from tierline_cli.demo.clock import RunClock
from tierline_cli.demo.cluster_view import ClusterView, GatewayAddress
from tierline_cli.demo.evidence import Evidence, gather_evidence, repeat_undisturbed, to_record
from tierline_cli.demo.examples import Examples
from tierline_cli.demo.gateway_debug import GatewayDebug
from tierline_cli.demo.load import send_all
from tierline_cli.demo.options import NODES, NOTICE_SECONDS
from tierline_cli.demo.reclaim import Reclaimer, ReclaimPlan
from tierline_cli.demo.sampling import WorkerSampler
from tierline_cli.demo.traffic import LONG_ANSWERS_AT
from tierline_cli.steps import Steps

RECLAIM_FROM = LONG_ANSWERS_AT
RECLAIM_UNTIL = 0.7
"""Shares of the workload's length between which a victim is looked for: from when its long answers are asked for."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the experiment yields."""

    evidence: tuple[Evidence, ...]
    records: tuple[RequestRecord, ...]
    facts: ClusterFacts
    reclaim: Reclaim


@dataclass(frozen=True, slots=True)
class Experiment:
    """One workload against one gateway."""

    view: ClusterView
    gateway: GatewayAddress
    kubeconfig: Path
    examples: Examples
    workload: Sequence[PlannedRequest]
    seconds: float
    block_tokens: int

    async def run(self, steps: Steps) -> Findings:
        """Send, reclaim, sample; raises `CommandFailed` when the reclaim cannot be done as planned."""
        clock = RunClock()
        clients = TenantClients(self.gateway.api_url, self.examples.model, self.examples.api_keys, clock)
        try:
            async with aiohttp.ClientSession() as session:
                debug = GatewayDebug(self.gateway.admin_url, session)
                sampler = WorkerSampler(self.view, session, clock, self.block_tokens)
                observations, reclaim = await self._load_and_reclaim(clients, debug, sampler, clock, steps)
                duration_ms = clock.now_ms()
                steps.begin("ask the gateway's journal, repeat the interrupted requests undisturbed")
                evidence = await gather_evidence(observations, debug, self.examples.api_keys)
                evidence = await repeat_undisturbed(evidence, reclaim, clients)
        finally:
            await clients.close()
        return self._findings(evidence, reclaim, sampler.samples, duration_ms)

    async def _load_and_reclaim(
        self, clients: TenantClients, debug: GatewayDebug, sampler: WorkerSampler, clock: RunClock, steps: Steps
    ) -> tuple[list[Observation], Reclaim]:
        sampling = asyncio.create_task(sampler.run())
        reclaimer = Reclaimer(self.view, debug, self.kubeconfig, clock, steps.tell)
        plan = ReclaimPlan(RECLAIM_FROM * self.seconds * 1000, RECLAIM_UNTIL * self.seconds * 1000, NOTICE_SECONDS)
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(send_all(clients, self.workload, clock))
                reclaiming = group.create_task(reclaimer.run(plan))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling
        return sending.result(), reclaiming.result()

    def _findings(
        self, evidence: Sequence[Evidence], reclaim: Reclaim, samples: Sequence[WorkerSample], duration_ms: float
    ) -> Findings:
        records = tuple(to_record(each, each.audit(), reclaim) for each in evidence)
        facts = ClusterFacts(
            duration_ms=duration_ms,
            tiers=self.examples.tiers,
            tenants=self.examples.tenants,
            nodes=node_use(reclaim, duration_ms),
            samples=tuple(samples),
            reclaims=(reclaim,),
        )
        return Findings(tuple(evidence), records, facts, reclaim)


def node_use(reclaim: Reclaim, duration_ms: float) -> tuple[NodeUse, ...]:
    """Return for how long each node was paid for: the reclaimed one until it was gone."""
    return tuple(
        NodeUse(node.name, node.zone, node.capacity_type, reclaim.gone_ms / 1000, reclaim.gone_ms)
        if node.name == reclaim.node
        else NodeUse(node.name, node.zone, node.capacity_type, duration_ms / 1000)
        for node in NODES
    )
