"""FleetDrill: a fault injected on purpose, and what must hold meanwhile."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Transition
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.fields import Counter, FleetName, ListOf, ObjectName, Percent
from tierline.api.meta import Moment, Resource, Status

DrillKind = Literal["SpotReclaim", "WorkerKill", "MetricsBlackout", "OperatorDown"]


class TierCriterion(Block):
    """What a tier's requests must show during the drill."""

    tier_ref: ObjectName = Field(description="tierRef is the name of the SLOTier.")
    attainment_percent: Percent = Field(
        description="attainmentPercent is the share of requests that must meet their targets, in percent."
    )


class PassCriteria(Block):
    """What must hold for the drill to pass."""

    recovery_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=120,
        description="recoverySeconds is how long after the fault the fleet may take to be ready again, in seconds.",
    )
    max_failed_requests: Counter = Field(
        default=0, description="maxFailedRequests is how many requests may fail: one that ends whole has lost no token."
    )
    tiers: Annotated[tuple[TierCriterion, ...], Field(max_length=32), ListOf(("tierRef",))] = Field(
        default=(), description="tiers are what single tiers must show; one without requests does not pass."
    )


class FleetDrillSpec(Block):
    """The drill as declared. It runs once; another run is another object."""

    fleet_ref: FleetName = Field(description="fleetRef is the name of the LLMFleet; its label must allow drills.")
    kind: DrillKind = Field(description="kind is the fault.")
    seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=30, description="seconds is how long the fault lasts, or how far ahead a reclaim is announced."
    )
    criteria: PassCriteria = Field(
        default_factory=PassCriteria, description="criteria are what must hold for the drill to pass."
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


class DrillTierFigures(Block):
    """Requests of a tier: how many ended, how many missed their targets, how many failed."""

    tier_ref: ObjectName = Field(description="tierRef is the name of the SLOTier.")
    requests: Counter = Field(default=0, description="requests is how many ended.")
    missed: Counter = Field(default=0, description="missed is how many of them missed their targets.")
    failed: Counter = Field(default=0, description="failed is how many of them failed.")


TierFigureList = Annotated[tuple[DrillTierFigures, ...], Field(max_length=32), ListOf(("tierRef",))]


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
