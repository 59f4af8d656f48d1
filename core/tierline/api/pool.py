"""WorkerPool: one pool of a fleet as the operator runs it; what HPA, KEDA and `kubectl scale` act on."""

from typing import Annotated, ClassVar

from pydantic import Field

from tierline.api.block import Block, Rule, Transition
from tierline.api.crd_shape import AGE, READY, REASON, Column, Scale, Shape
from tierline.api.fields import Counter, FleetName, Identifier
from tierline.api.meta import ReplicaCount, Resource, Status
from tierline.api.rollout import Rollout, RolloutStatus
from tierline.api.serving import (
    ALTERNATIVES_TO_ONE,
    DEFAULT_DRAIN_SECONDS,
    ROLE_STAYS,
    Accelerators,
    DrainSeconds,
    Engine,
    Model,
    Placement,
    Resources,
    Role,
)


class WorkerPoolSpec(Block):
    """The pool as the operator runs it."""

    fleet_ref: FleetName = Field(description="fleetRef is the name of the LLMFleet that the pool belongs to.")
    replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="replicas is the number of workers wanted; 0 when left out."
    )
    role: Role = Field(
        default="Unified", description="role is the phase that the workers run: prefill, decode or both."
    )
    accelerator: Identifier | None = Field(
        default=None, description="accelerator is the node label that workers need; any node when left out."
    )
    engine: Engine = Field(default_factory=Engine, description="engine holds the sizes of a worker's engine.")
    resources: Resources = Field(default_factory=Resources, description="resources are what one worker asks for.")
    model: Model = Field(description="model is the model that is served.")
    drain_seconds: DrainSeconds = Field(
        default=DEFAULT_DRAIN_SECONDS, description="drainSeconds is the time to hand streams over, in seconds."
    )
    placement: Placement = Field(default_factory=Placement, description="placement is where workers may run.")
    alternative_accelerators: Accelerators = Field(
        default=(), description="alternativeAccelerators are other node labels that will do, in order of preference."
    )
    rollout: Rollout = Field(default_factory=Rollout, description="rollout is how a change reaches the workers.")

    rules: ClassVar[tuple[Rule, ...]] = (ALTERNATIVES_TO_ONE,)
    transitions: ClassVar[tuple[Transition, ...]] = (
        Transition(
            field="fleetRef",
            message="cannot be changed: a pool stays with its fleet.",
            cel="self.fleetRef == oldSelf.fleetRef",
            holds=lambda new, old: new.fleet_ref == old.fleet_ref,
        ),
        ROLE_STAYS,
    )


class WorkerPoolStatus(ReplicaCount, Status):
    """What runs of the pool."""

    replicas: Counter = Field(default=0, description="replicas is the number of worker pods that exist.")
    selector: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="selector is the label selector of the worker pods, as text, for autoscalers."
    )
    last_attempt: Counter = Field(
        default=0, description="lastAttempt is the highest attempt number that a pod name has carried."
    )
    rollout: RolloutStatus | None = Field(default=None, description="rollout is how far a change has come.")


class WorkerPool(Resource):
    """WorkerPool is one pool of workers of a fleet; it can be scaled like a Deployment."""

    kind_name: ClassVar[str] = "WorkerPool"
    shape: ClassVar[Shape] = Shape(
        plural="workerpools",
        short_names=("wp",),
        scope="Namespaced",
        columns=(
            Column("Fleet", ".spec.fleetRef"),
            Column("Role", ".spec.role"),
            Column("Desired", ".spec.replicas", "integer"),
            Column("Current", ".status.replicas", "integer", priority=1),
            Column("Serving", ".status.readyReplicas", "integer"),
            READY,
            REASON,
            AGE,
        ),
        scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
    )
    spec: WorkerPoolSpec = Field(description="spec is the pool as the operator runs it.")
    status: WorkerPoolStatus | None = Field(default=None, description="status is what runs of the pool.")
