"""FleetDrill: a fault injected on purpose, and what must hold meanwhile."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule, Transition
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.fields import Counter, FleetName, ListOf, ObjectName, Percent
from tierline.api.meta import Moment, Resource, Status
from tierline.api.tier import TpotTargets, TtftTargets

DrillKind = Literal["SpotReclaim", "WorkerKill", "MetricsBlackout", "TenantFlood", "OperatorDown"]


class TierCriterion(Block):
    """What a tier's requests must show during the drill."""

    tier_ref: ObjectName = Field(description="tierRef is the name of the SLOTier.")
    attainment_percent: Percent | None = Field(
        default=None, description="attainmentPercent is the share of requests that must meet their targets, in percent."
    )
    ttft_milliseconds: TtftTargets | None = Field(
        default=None,
        description="ttftMilliseconds are the longest times to the first token, by percentile, in milliseconds.",
    )
    tpot_milliseconds: TpotTargets | None = Field(
        default=None,
        description="tpotMilliseconds are the longest times per token after the first, by percentile, in milliseconds.",
    )


class PassCriteria(Block):
    """What must hold for the drill to pass."""

    recovery_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=120,
        description="recoverySeconds is how long after the fault the fleet may take to be ready again, in seconds.",
    )
    max_failed_requests: Counter = Field(
        default=0, description="maxFailedRequests is how many requests may end with an error after they were admitted."
    )
    max_lost_tokens: Counter = Field(
        default=0,
        description="maxLostTokens is the most that may be generated for answers that break off, in tokens.",
    )
    max_duplicated_tokens: Counter = Field(
        default=0, description="maxDuplicatedTokens is the most that clients may be given more than once, in tokens."
    )
    tiers: Annotated[tuple[TierCriterion, ...], Field(max_length=32), ListOf(("tierRef",))] = Field(
        default=(), description="tiers are what single tiers must show; one without requests does not pass."
    )


class Flood(Block):
    """The requests of a TenantFlood: how many, how large, and in whose name."""

    tenant_quota_ref: ObjectName = Field(
        description="tenantQuotaRef is the name of the TenantQuota to flood as; its label must allow drills."
    )
    requests_per_second: Annotated[int, Field(ge=1, le=200)] = Field(
        default=20, description="requestsPerSecond is how many requests are sent, per second."
    )
    prompt_tokens: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=256, description="promptTokens is about how long each prompt is, in tokens."
    )
    output_tokens: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=64, description="outputTokens is how long each answer may be, in tokens."
    )


class FleetDrillSpec(Block):
    """The drill as declared. It runs once; another run is another object."""

    fleet_ref: FleetName = Field(description="fleetRef is the name of the LLMFleet; its label must allow drills.")
    kind: DrillKind = Field(description="kind is the fault.")
    seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=30, description="seconds is how long the fault lasts, or how far ahead a reclaim is announced."
    )
    flood: Flood | None = Field(default=None, description="flood is what a TenantFlood sends.")
    criteria: PassCriteria = Field(
        default_factory=PassCriteria, description="criteria are what must hold for the drill to pass."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="flood",
            message="is required when kind is TenantFlood, and only then.",
            cel="(self.kind == 'TenantFlood') == has(self.flood)",
            holds=lambda it: (it.kind == "TenantFlood") == (it.flood is not None),
        ),
    )
    transitions: ClassVar[tuple[Transition, ...]] = (
        Transition(
            field="kind",
            message="cannot be changed: a drill runs once, so create another one.",
            cel="self.kind == oldSelf.kind",
            holds=lambda new, old: new.kind == old.kind,
        ),
        Transition(
            field="fleetRef",
            message="cannot be changed: a drill runs once, so create another one.",
            cel="self.fleetRef == oldSelf.fleetRef",
            holds=lambda new, old: new.fleet_ref == old.fleet_ref,
        ),
    )


Buckets = Annotated[tuple[Counter, ...], Field(max_length=32), ListOf(atomic=True)]


class DrillTierFigures(Block):
    """Requests of a tier: how many ended, how they fared, and how long they took. A flood's own are not among them."""

    tier_ref: ObjectName = Field(description="tierRef is the name of the SLOTier.")
    requests: Counter = Field(default=0, description="requests is how many ended, those that were refused included.")
    missed: Counter = Field(default=0, description="missed is how many of them missed their targets.")
    failed: Counter = Field(default=0, description="failed is how many of them failed.")
    refused: Counter = Field(default=0, description="refused is how many of them were turned away.")
    lost_tokens: Counter = Field(default=0, description="lostTokens is what was generated and of no use, in tokens.")
    duplicated_tokens: Counter = Field(
        default=0, description="duplicatedTokens is what came more than once, in tokens."
    )
    ttft_p95_milliseconds: Counter | None = Field(
        default=None,
        description="ttftP95Milliseconds is the 95th percentile of the time to the first token, in milliseconds.",
    )
    tpot_p95_milliseconds: Counter | None = Field(
        default=None,
        description="tpotP95Milliseconds is the 95th percentile of the time per token, in milliseconds.",
    )
    ttft_buckets: Buckets = Field(
        default=(), description="ttftBuckets are the counts of the gateways' histogram of times to the first token."
    )
    tpot_buckets: Buckets = Field(
        default=(), description="tpotBuckets are the counts of the gateways' histogram of times per token."
    )


TierFigureList = Annotated[tuple[DrillTierFigures, ...], Field(max_length=32), ListOf(("tierRef",))]


class FloodFigures(Block):
    """Requests of the tenant that floods."""

    before: Counter = Field(default=0, description="before is how many of them had ended when the drill started.")
    requests: Counter = Field(default=0, description="requests is how many have ended since.")


class DrillCheck(Block):
    """One figure beside its bound."""

    name: Annotated[str, Field(min_length=1, max_length=320)] = Field(description="name says what was measured.")
    measured: Counter | None = Field(default=None, description="measured is the figure, left out when nobody knows it.")
    bound: Counter = Field(description="bound is what was asked for, in the same unit.")
    outcome: Literal["Kept", "Broken"] = Field(description="outcome says whether the figure is within its bound.")


class FleetDrillStatus(Status):
    """How far the drill has come, and what it showed; recorded before anything is done about it."""

    target: Annotated[str, Field(max_length=253)] = Field(
        default="", description="target is the pod or node that the fault hits."
    )
    target_uid: Annotated[str, Field(max_length=64)] = Field(
        default="", description="targetUid is the uid of the worker that the fault hits."
    )
    leader: Annotated[str, Field(max_length=253)] = Field(
        default="", description="leader is the operator's replica that began the drill."
    )
    started: Moment | None = Field(default=None, description="started is when the fault was injected.")
    recovered: Moment | None = Field(default=None, description="recovered is when the fleet was ready again.")
    finished: Moment | None = Field(default=None, description="finished is when the verdict was given.")
    recovery_seconds: Counter | None = Field(
        default=None, description="recoverySeconds is how long the fleet took to be ready again, in seconds."
    )
    baseline: TierFigureList = Field(default=(), description="baseline is what gateways had counted when it started.")
    figures: TierFigureList = Field(default=(), description="figures are what gateways counted during the drill.")
    flood: FloodFigures | None = Field(default=None, description="flood is what came of a TenantFlood's requests.")
    checks: Annotated[tuple[DrillCheck, ...], Field(max_length=256), ListOf(("name",))] = Field(
        default=(), description="checks are the figures that were judged, each beside its bound."
    )


class FleetDrill(Resource):
    """FleetDrill injects a fault into a fleet that allows it and says whether the fleet kept its promises."""

    kind_name: ClassVar[str] = "FleetDrill"
    shape: ClassVar[Shape] = Shape(
        plural="fleetdrills",
        short_names=("drill",),
        scope="Namespaced",
        columns=(
            Column("Fleet", ".spec.fleetRef"),
            Column("Kind", ".spec.kind"),
            Column("Target", ".status.target", priority=1),
            Column("Recovery-Seconds", ".status.recoverySeconds", "integer"),
            READY,
            REASON,
            AGE,
        ),
    )
    spec: FleetDrillSpec = Field(description="spec is the drill as declared.")
    status: FleetDrillStatus | None = Field(default=None, description="status is how far the drill has come.")
