"""SLOTier: the promise of latency, and how every loop behaves to keep it."""

from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from tierline.api.block import Block, Rule
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.decision_matrix import (
    BatchingMode,
    Locality,
    Objective,
    Overload,
    Preemptible,
    PreemptionGranularity,
    PreemptionSave,
    ServiceOrder,
    Speculation,
    SpotUse,
)
from tierline.api.fields import SAFE_INT_MAX, ObjectName, Percent
from tierline.api.meta import Resource, Status

Percentile = Literal["P50", "P95", "P99"]
TtftMs = Annotated[int, Field(ge=1, le=3_600_000)]
TpotMs = Annotated[int, Field(ge=1, le=600_000)]


class _Percentiles(Block):
    """Targets by percentile; at least one, and never a tighter one for a higher percentile."""

    p50: int | None
    p95: int | None
    p99: int | None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="p50",
            message="must be given, or p95 or p99: declare at least one percentile.",
            cel="has(self.p50) || has(self.p95) || has(self.p99)",
            holds=lambda it: any(value is not None for value in (it.p50, it.p95, it.p99)),
        ),
        Rule(
            field="p50",
            message="must not be greater than p95.",
            cel="!has(self.p50) || !has(self.p95) || self.p50 <= self.p95",
            holds=lambda it: it.p50 is None or it.p95 is None or it.p50 <= it.p95,
        ),
        Rule(
            field="p95",
            message="must not be greater than p99.",
            cel="!has(self.p95) || !has(self.p99) || self.p95 <= self.p99",
            holds=lambda it: it.p95 is None or it.p99 is None or it.p95 <= it.p99,
        ),
        Rule(
            field="p50",
            message="must not be greater than p99.",
            cel="!has(self.p50) || !has(self.p99) || self.p50 <= self.p99",
            holds=lambda it: it.p50 is None or it.p99 is None or it.p50 <= it.p99,
        ),
    )

    def at(self, percentile: Percentile | None) -> int | None:
        """Return the target of `percentile`, or the tightest declared one when none is named, in milliseconds."""
        if percentile is not None:
            return cast("int | None", getattr(self, percentile.lower()))
        return next((value for value in (self.p50, self.p95, self.p99) if value is not None), None)

    def mainly(self) -> int | None:
        """Return the target of p95, or else the one that is declared, in milliseconds: what most requests must meet."""
        return next((value for value in (self.p95, self.p99, self.p50) if value is not None), None)

    def tightest_percent(self) -> int:
        """Return the percentile of the tightest declared target."""
        return next(percent for percent, value in ((50, self.p50), (95, self.p95), (99, self.p99)) if value is not None)


class TtftTargets(_Percentiles):
    """Targets of the time to the first token, in milliseconds."""

    p50: TtftMs | None = Field(default=None, description="p50 is the target of the median, in milliseconds.")
    p95: TtftMs | None = Field(default=None, description="p95 is the target of the 95th percentile, in milliseconds.")
    p99: TtftMs | None = Field(default=None, description="p99 is the target of the 99th percentile, in milliseconds.")


class TpotTargets(_Percentiles):
    """Targets of the time per output token after the first, in milliseconds."""

    p50: TpotMs | None = Field(default=None, description="p50 is the target of the median, in milliseconds.")
    p95: TpotMs | None = Field(default=None, description="p95 is the target of the 95th percentile, in milliseconds.")
    p99: TpotMs | None = Field(default=None, description="p99 is the target of the 99th percentile, in milliseconds.")


class Targets(Block):
    """What the tier promises."""

    ttft_milliseconds: TtftTargets | None = Field(
        default=None, description="ttftMilliseconds are the targets of the time to first token, in milliseconds."
    )
    tpot_milliseconds: TpotTargets | None = Field(
        default=None, description="tpotMilliseconds are the targets of the time per output token, in milliseconds."
    )
    deadline_seconds: Annotated[int, Field(ge=1, le=604_800)] | None = Field(
        default=None, description="deadlineSeconds is the time for a whole answer, for batch work, in seconds."
    )

    def declares(self, percentile: Percentile) -> bool:
        """Say whether every latency target of the tier, and at least one, has this percentile."""
        groups = [group for group in (self.ttft_milliseconds, self.tpot_milliseconds) if group is not None]
        return bool(groups) and all(group.at(percentile) is not None for group in groups)


class Admission(Block):
    """What happens to a request that the tier's targets have no room for."""

    overload: Overload | None = Field(
        default=None, description="overload is what a request meets that cannot be served in time."
    )
    max_queue_milliseconds: Annotated[int, Field(ge=0, le=86_400_000)] | None = Field(
        default=None, description="maxQueueMilliseconds is the longest wait before dispatch, in milliseconds."
    )
    degrade_to_ref: ObjectName | None = Field(
        default=None, description="degradeToRef is the name of the SLOTier that serves what Degrade turns away."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="degradeToRef",
            message="is required when overload is Degrade, and only then: set both or neither.",
            cel="(has(self.overload) && self.overload == 'Degrade') == has(self.degradeToRef)",
            holds=lambda it: (it.overload == "Degrade") == (it.degrade_to_ref is not None),
        ),
    )


class Preemption(Block):
    """Whether and how running requests of the tier make room for more urgent ones."""

    preemptible: Preemptible | None = Field(
        default=None, description="preemptible says whether a running request may be interrupted for a higher tier."
    )
    granularity: PreemptionGranularity | None = Field(
        default=None,
        description="granularity is where a request may be interrupted: after any token, or between requests.",
    )
    save: PreemptionSave | None = Field(
        default=None, description="save is what becomes of the KV pages of an interrupted request."
    )


class Batching(Block):
    """How the tier's requests are batched."""

    mode: BatchingMode | None = Field(default=None, description="mode is how batches are composed over iterations.")


class Fairness(Block):
    """How tenants of the tier share it."""

    order: ServiceOrder | None = Field(
        default=None,
        description="order says whether tenants are served by what they were given so far, or by deadlines alone.",
    )
    locality: Locality | None = Field(
        default=None, description="locality says whether requests whose prompt's beginning is cached go first."
    )
    quantum_tokens: Annotated[int, Field(ge=1, le=SAFE_INT_MAX)] | None = Field(
        default=None,
        description="quantumTokens is how much weighted service locality may bring forward for a tenant, in tokens.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="quantumTokens",
            message="has no effect when locality is Ignore: remove it or prefer locality.",
            cel="!has(self.quantumTokens) || !has(self.locality) || self.locality != 'Ignore'",
            holds=lambda it: it.quantum_tokens is None or it.locality != "Ignore",
        ),
        Rule(
            field="locality",
            message="has no effect when order is Deadline: remove it or order by Service.",
            cel="!has(self.locality) || self.locality != 'Prefer' || !has(self.order) || self.order != 'Deadline'",
            holds=lambda it: it.locality != "Prefer" or it.order != "Deadline",
        ),
    )


class SLOTierSpec(Block):
    """The tier as declared; what is left out follows from the objective."""

    objective: Objective = Field(description="objective selects the defaults of everything the tier leaves out.")
    priority: Annotated[int, Field(ge=0, le=1000)] = Field(
        description="priority orders the tiers: a higher number is served first."
    )
    targets: Targets | None = Field(default=None, description="targets are the latencies that the tier promises.")
    deadline_percentile: Percentile | None = Field(
        default=None,
        description="deadlinePercentile is the target that is a request's own deadline; by default the tightest one.",
    )
    attainment_percent: Percent | None = Field(
        default=None,
        description="attainmentPercent is the share of requests that must meet their deadline, in percent.",
    )
    admission: Admission | None = Field(default=None, description="admission is what happens under overload.")
    preemption: Preemption | None = Field(default=None, description="preemption is how running requests make room.")
    speculation: Speculation | None = Field(
        default=None, description="speculation says whether a draft model may be used when it pays."
    )
    spot: SpotUse | None = Field(default=None, description="spot says whether requests may run on spot capacity.")
    batching: Batching | None = Field(default=None, description="batching is how requests are batched.")
    fairness: Fairness | None = Field(default=None, description="fairness is how tenants share the tier.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="deadlinePercentile",
            message="must be declared by every latency target of the tier, and by at least one.",
            cel=(
                "!has(self.deadlinePercentile) || (has(self.targets)"
                " && (has(self.targets.ttftMilliseconds) || has(self.targets.tpotMilliseconds))"
                " && (!has(self.targets.ttftMilliseconds)"
                " || (self.deadlinePercentile == 'P50' && has(self.targets.ttftMilliseconds.p50))"
                " || (self.deadlinePercentile == 'P95' && has(self.targets.ttftMilliseconds.p95))"
                " || (self.deadlinePercentile == 'P99' && has(self.targets.ttftMilliseconds.p99)))"
                " && (!has(self.targets.tpotMilliseconds)"
                " || (self.deadlinePercentile == 'P50' && has(self.targets.tpotMilliseconds.p50))"
                " || (self.deadlinePercentile == 'P95' && has(self.targets.tpotMilliseconds.p95))"
                " || (self.deadlinePercentile == 'P99' && has(self.targets.tpotMilliseconds.p99))))"
            ),
            holds=lambda it: (
                it.deadline_percentile is None
                or (it.targets is not None and it.targets.declares(it.deadline_percentile))
            ),
        ),
    )


class SLOTierStatus(Status):
    """What became of the tier."""

    writer: Annotated[str, Field(max_length=320)] = Field(
        default="", description="writer is the install that writes this status, where several share the cluster."
    )


class SLOTier(Resource):
    """SLOTier is one promise of latency that every loop obeys, from admission to scaling."""

    kind_name: ClassVar[str] = "SLOTier"
    shape: ClassVar[Shape] = Shape(
        plural="slotiers",
        short_names=("tier", "tiers"),
        scope="Cluster",
        columns=(
            Column("Objective", ".spec.objective"),
            Column("Priority", ".spec.priority", "integer"),
            Column("TTFT-p95", ".spec.targets.ttftMilliseconds.p95", "integer", "Time to first token in milliseconds."),
            Column(
                "TPOT-p95", ".spec.targets.tpotMilliseconds.p95", "integer", "Time per output token in milliseconds."
            ),
            READY,
            REASON,
            AGE,
        ),
    )
    spec: SLOTierSpec = Field(description="spec is the tier as declared.")
    status: SLOTierStatus | None = Field(default=None, description="status is what became of the tier.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="spec.admission.degradeToRef",
            message="must name another tier than this one.",
            cel=(
                "!has(self.spec.admission) || !has(self.spec.admission.degradeToRef)"
                " || self.spec.admission.degradeToRef != self.metadata.name"
            ),
            holds=lambda it: it.spec.admission is None or it.spec.admission.degrade_to_ref != it.metadata.name,
        ),
    )
