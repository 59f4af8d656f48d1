"""LLMFleet: one model, the pools of workers that serve it, and the gateway in front of them."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule, Transition
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.fields import FLEET_NAME, FLEET_NAME_LIMIT, Counter, Identifier, ListOf, ObjectName, ShortName
from tierline.api.gateway import Gateway
from tierline.api.meta import ReplicaCount, Resource, Status
from tierline.api.rollout import Rollout
from tierline.api.serving import (
    ALTERNATIVES_TO_ONE,
    DEFAULT_DRAIN_SECONDS,
    ROLE_STAYS,
    Accelerators,
    DrainSeconds,
    Engine,
    ExpectedWorkload,
    Model,
    Placement,
    ReplicaRange,
    Resources,
    Role,
)
from tierline.api.token_prices import TokenPriceSpec

DisaggregationMode = Literal["Auto", "Always", "Never"]
ScalingMode = Literal["Tierline", "External"]
Forecast = Literal["Trend", "Never"]

WEIGHTS_NODES_LIMIT = 64


class Pool(Block):
    """One pool of equal workers."""

    name: ShortName = Field(description="name of the pool, unique in the fleet.")
    role: Role = Field(
        default="Unified", description="role is the phase that the workers run: prefill, decode or both."
    )
    replicas: ReplicaRange = Field(description="replicas are the bounds that scaling keeps.")
    accelerator: Identifier | None = Field(
        default=None, description="accelerator is the node label that workers need; any node when left out."
    )
    engine: Engine = Field(default_factory=Engine, description="engine holds the sizes of a worker's engine.")
    resources: Resources = Field(default_factory=Resources, description="resources are what one worker asks for.")

    alternative_accelerators: Accelerators = Field(
        default=(), description="alternativeAccelerators are other node labels that will do, in order of preference."
    )

    rules: ClassVar[tuple[Rule, ...]] = (ALTERNATIVES_TO_ONE,)
    transitions: ClassVar[tuple[Transition, ...]] = (ROLE_STAYS,)


class Disaggregation(Block):
    """When prefill and decode run on different workers."""

    mode: DisaggregationMode = Field(default="Auto", description="mode says who decides: Tierline, or the user.")
    min_prompt_tokens: Counter | None = Field(
        default=None, description="minPromptTokens is the prompt length from which Auto may hand over, in tokens."
    )
    min_queued_requests: Counter | None = Field(
        default=None, description="minQueuedRequests is the queue depth from which Auto may hand over, in requests."
    )


class Scaling(Block):
    """Who decides the number of replicas, and how eagerly."""

    mode: ScalingMode = Field(
        default="Tierline", description="mode says who writes replicas: Tierline, or an external autoscaler."
    )
    target_utilization_percent: Annotated[int, Field(ge=10, le=95)] = Field(
        default=75,
        description="targetUtilizationPercent is the load of a replica that scaling aims at, in percent.",
    )
    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=300,
        description="stabilizationSeconds is how long fewer replicas must have sufficed before one goes, in seconds.",
    )
    scale_to_zero_idle_seconds: Annotated[int, Field(ge=10, le=86_400)] = Field(
        default=600,
        description="scaleToZeroIdleSeconds is the idle time after which pools with min 0 have none, in seconds.",
    )
    forecast: Forecast = Field(
        default="Trend", description="forecast says whether a rising load is met before it is there."
    )


class LLMFleetSpec(Block):
    """The fleet as declared."""

    model: Model = Field(description="model is the model that is served.")
    tier_refs: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=32), ListOf()] = Field(
        description="tierRefs are the names of the SLOTiers that the fleet serves."
    )
    workload: ExpectedWorkload | None = Field(
        default=None, description="workload is the expected traffic, so that feasibility is known before it comes."
    )
    pools: Annotated[tuple[Pool, ...], Field(min_length=1, max_length=16), ListOf(("name",))] = Field(
        description="pools are the groups of equal workers."
    )
    disaggregation: Disaggregation = Field(
        default_factory=Disaggregation, description="disaggregation says when prefill and decode are kept apart."
    )
    placement: Placement = Field(default_factory=Placement, description="placement is where workers may run.")
    scaling: Scaling = Field(default_factory=Scaling, description="scaling says who decides the number of replicas.")
    rollout: Rollout = Field(default_factory=Rollout, description="rollout is how a change reaches the workers.")
    drain_seconds: DrainSeconds = Field(
        default=DEFAULT_DRAIN_SECONDS, description="drainSeconds is the time to hand streams over, in seconds."
    )
    gateway: Gateway = Field(default_factory=Gateway, description="gateway is the front door of the fleet.")
    token_prices: Annotated[tuple[TokenPriceSpec, ...], Field(max_length=32), ListOf(("billingTier",))] = Field(
        default=(), description="tokenPrices are what tenants pay for tokens, by the billingTier of their quota."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="pools",
            message="must hold both a Prefill and a Decode pool or neither: one cannot serve without the other.",
            cel=(
                "self.pools.exists(p, has(p.role) && p.role == 'Prefill')"
                " == self.pools.exists(p, has(p.role) && p.role == 'Decode')"
            ),
            holds=lambda it: it.has_role("Prefill") == it.has_role("Decode"),
        ),
        Rule(
            field="disaggregation.mode",
            message="cannot be Always without a Prefill and a Decode pool: add them, or set Auto.",
            cel=(
                "!has(self.disaggregation) || !has(self.disaggregation.mode) || self.disaggregation.mode != 'Always'"
                " || self.pools.exists(p, has(p.role) && p.role == 'Prefill')"
            ),
            holds=lambda it: it.disaggregation.mode != "Always" or it.has_role("Prefill"),
        ),
    )

    def has_role(self, role: Role) -> bool:
        return any(pool.role == role for pool in self.pools)


class PoolSummary(ReplicaCount):
    """One pool in the fleet's status."""

    name: ShortName = Field(description="name of the pool.")
    replicas: Counter = Field(default=0, description="replicas is the number of workers wanted.")


class WeightsStatus(Block):
    """Where the model's weights are."""

    mebibytes: Counter = Field(default=0, description="mebibytes is what the weights take on a node, in MiB.")
    node_count: Counter = Field(default=0, description="nodeCount is the number of nodes that have the weights.")
    nodes: Annotated[tuple[ObjectName, ...], Field(max_length=WEIGHTS_NODES_LIMIT), ListOf()] = Field(
        default=(), description="nodes are the names of nodes that have the weights, the first ones by name."
    )


class LLMFleetStatus(Status):
    """What runs of the fleet."""

    replicas: Counter = Field(default=0, description="replicas is the number of workers wanted in all pools.")
    ready_replicas: Counter = Field(
        default=0, description="readyReplicas is the number of workers that serve in all pools."
    )
    pools: Annotated[tuple[PoolSummary, ...], Field(max_length=16), ListOf(("name",))] = Field(
        default=(), description="pools sum up each pool."
    )
    gateway: ReplicaCount | None = Field(default=None, description="gateway sums up the front door.")
    weights: WeightsStatus | None = Field(
        default=None, description="weights says which nodes have the model's weights, as their workers tell."
    )
    cents_per_hour: Counter = Field(
        default=0, description="centsPerHour is what the fleet's workers cost by the price table, in cents per hour."
    )


class LLMFleet(Resource):
    """LLMFleet is one model served by pools of workers behind a gateway that keeps the fleet's tiers."""

    kind_name: ClassVar[str] = "LLMFleet"
    shape: ClassVar[Shape] = Shape(
        plural="llmfleets",
        short_names=("fleet", "fleets"),
        scope="Namespaced",
        columns=(
            Column("Model", ".spec.model.source"),
            Column("Desired", ".status.replicas", "integer"),
            Column("Serving", ".status.readyReplicas", "integer"),
            Column("Gateways", ".status.gateway.readyReplicas", "integer", priority=1),
            Column("Cents-Per-Hour", ".status.centsPerHour", "integer", priority=1),
            Column("Tiers", ".spec.tierRefs", priority=1),
            READY,
            REASON,
            AGE,
        ),
    )
    spec: LLMFleetSpec = Field(description="spec is the fleet as declared.")
    status: LLMFleetStatus | None = Field(default=None, description="status is what runs of the fleet.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="metadata.name",
            message=(
                f"must be at most {FLEET_NAME_LIMIT} lower-case letters, digits and dashes and start with a letter:"
                " pods and Services are named after it."
            ),
            cel=f"size(self.metadata.name) <= {FLEET_NAME_LIMIT} && self.metadata.name.matches('{FLEET_NAME}')",
            holds=lambda it: is_fleet_name(it.metadata.name),
        ),
        Rule(
            field="spec.gateway.fleetRefs",
            message="must not name the fleet itself: its own gateway serves it in any case.",
            cel=(
                "!has(self.spec.gateway) || !has(self.spec.gateway.fleetRefs)"
                " || !self.spec.gateway.fleetRefs.exists(name, name == self.metadata.name)"
            ),
            holds=lambda it: it.metadata.name not in it.spec.gateway.fleet_refs,
        ),
    )

    @property
    def served_name(self) -> str:
        """The model's name for clients."""
        return self.spec.model.served_name or self.metadata.name


def is_fleet_name(name: str) -> bool:
    return len(name) <= FLEET_NAME_LIMIT and re.search(FLEET_NAME, name) is not None
