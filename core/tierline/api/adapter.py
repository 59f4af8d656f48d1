"""LoRAAdapter: a LoRA adapter, the fleets that serve it, and where it is."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule
from tierline.api.crd_shape import AGE, READY, REASON, Column, Shape
from tierline.api.fields import Counter, FleetName, ListOf, ObjectName
from tierline.api.meta import Resource, Status

Pinning = Literal["EveryWorker", "ByUse"]
Standing = Literal["Resident", "Loadable"]

ADAPTER_NAME_LIMIT = 128
WORKERS_TOLD = 200


class LoRAAdapterSpec(Block):
    """The adapter as declared. Clients name it by the object's name."""

    source: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(hf://|file:///|/).+$")] = Field(
        description="source is where the weights come from: hf://org/name, file:///path or a path on the workers."
    )
    rank: Annotated[int, Field(ge=1, le=512)] = Field(
        description="rank is the adapter's largest rank; workers whose maxAdapterRank is lower do not get it."
    )
    fleet_refs: Annotated[tuple[FleetName, ...], Field(min_length=1, max_length=16), ListOf()] = Field(
        description="fleetRefs are the names of the LLMFleets that serve the adapter, in the same namespace."
    )
    pinning: Pinning = Field(
        default="ByUse",
        description="pinning says where it is: on every worker, or on one, and on more while it is used.",
    )
    max_workers: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="maxWorkers is the most workers of a fleet that hold it; no limit when left out."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="maxWorkers",
            message="must be left out when pinning is EveryWorker.",
            cel="!has(self.pinning) || self.pinning != 'EveryWorker' || !has(self.maxWorkers)",
            holds=lambda it: it.pinning != "EveryWorker" or it.max_workers is None,
        ),
    )


class AdapterWorkerStatus(Block):
    """One worker that serves the adapter."""

    name: ObjectName = Field(description="name of the worker's pod.")
    standing: Standing = Field(
        description="standing says whether it lies in the worker's memory for KV now or is copied there when asked for."
    )


class LoRAAdapterStatus(Status):
    """Where the adapter is."""

    workers: Annotated[tuple[AdapterWorkerStatus, ...], Field(max_length=WORKERS_TOLD), ListOf(("name",))] = Field(
        default=(), description="workers are those that serve it."
    )
    serving_workers: Counter = Field(default=0, description="servingWorkers is how many workers serve it.")
    resident_workers: Counter = Field(
        default=0, description="residentWorkers is in how many workers' memory for KV it lies."
    )


class LoRAAdapter(Resource):
    """LoRAAdapter is a LoRA adapter that fleets load, keep and unload while they serve."""

    kind_name: ClassVar[str] = "LoRAAdapter"
    shape: ClassVar[Shape] = Shape(
        plural="loraadapters",
        short_names=("lora",),
        scope="Namespaced",
        columns=(
            Column("Fleets", ".spec.fleetRefs"),
            Column("Serving", ".status.servingWorkers", "integer"),
            Column("Resident", ".status.residentWorkers", "integer"),
            Column("Source", ".spec.source", priority=1),
            Column("Rank", ".spec.rank", "integer", priority=1),
            READY,
            REASON,
            AGE,
        ),
    )
    spec: LoRAAdapterSpec = Field(description="spec is the adapter as declared.")
    status: LoRAAdapterStatus | None = Field(default=None, description="status is where the adapter is.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="metadata.name",
            message=f"must be at most {ADAPTER_NAME_LIMIT} characters: clients name the adapter by it.",
            cel=f"size(self.metadata.name) <= {ADAPTER_NAME_LIMIT}",
            holds=lambda it: len(it.metadata.name) <= ADAPTER_NAME_LIMIT,
        ),
    )
