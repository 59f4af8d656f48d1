"""The requests that live on this worker, with their token ids."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tierline.scheduling.memory.prefix_keys import KeySpace
from tierline.scheduling.plans import EngineRequest
from tierline.wire.frames import Sampling, Submit
from tierline_worker.engine.block_names import BlockNames
from tierline_worker.sampling.ranges import problem_of_sampling

_UNBOUNDED_MS = float("inf")


@dataclass(slots=True)
class LiveRequest:
    """One started request. `token_ids` is the prompt and all that was emitted, here or before.

    Requests share blocks within one `namespace` and `adapter`; `names` are the keys of this one's full blocks, None
    where nothing is cached.
    `arrived_at` is when the gateway got it, `scheduled_at` when its first iteration here began, `first_token_at` and
    `last_token_at` when its first token from here and its newest one left; seconds of the engine's clock.
    """

    gateway: int
    request_id: str
    epoch: int
    token_ids: list[int]
    prompt_tokens: int
    sampling: Sampling
    arrived_at: float
    namespace: str = ""
    names: BlockNames | None = None
    replayed_tokens: int = 0
    adapter: str = ""
    scheduled_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float | None = None

    @property
    def key(self) -> str:
        """Its name in the scheduling core: two gateways may use one id."""
        return key_of(self.gateway, self.request_id)

    @property
    def block_keys(self) -> tuple[bytes, ...]:
        """The keys of the context that it came with."""
        return self.names.keys if self.names is not None else ()

    @property
    def emitted_tokens(self) -> int:
        return len(self.token_ids) - self.prompt_tokens

    def begins_like(self, other: "LiveRequest") -> bool:
        """Say whether the other's prompt is this one's, and its KV the same and allowed to be shared."""
        shared = (self.namespace, self.adapter) == (other.namespace, other.adapter)
        return shared and self.token_ids[: self.prompt_tokens] == other.token_ids[: other.prompt_tokens]


@dataclass(slots=True)
class Roster:
    """Finds requests by key and by slot."""

    by_key: dict[str, LiveRequest] = field(default_factory=dict)
    by_slot: dict[int, LiveRequest] = field(default_factory=dict)

    def of_gateway(self, gateway: int) -> list[LiveRequest]:
        return [request for request in self.by_key.values() if request.gateway == gateway]

    def parent_of(self, request: LiveRequest, fork_of: str) -> str:
        """Return the key of the request that `request` is a fork of; empty when it is not here or not alike.

        Its KV is taken over unseen, so that its prompt is the same and may be shared is not left to the gateway.
        """
        parent = self.by_key.get(key_of(request.gateway, fork_of)) if fork_of else None
        return parent.key if parent is not None and parent.begins_like(request) else ""

    def of_epoch(self, gateway: int, request_id: str, epoch: int) -> list[LiveRequest]:
        """Return the gateway's request if it runs in this epoch."""
        found = self.by_key.get(key_of(gateway, request_id))
        return [found] if found is not None and found.epoch == epoch else []

    def remove(self, requests: Iterable[LiveRequest]) -> None:
        for request in requests:
            self.by_key.pop(request.key, None)


def key_of(gateway: int, request_id: str) -> str:
    return f"{gateway}/{request_id}"


def live_request(
    gateway: int, frame: Submit, now_s: float, adapter: str = "", keys: KeySpace | None = None
) -> LiveRequest:
    """Return a started request; who names no namespace shares with nobody but its tenant."""
    namespace = frame.cache_namespace or frame.tenant
    token_ids = [*frame.prompt_ids, *frame.emitted_ids]
    return LiveRequest(
        gateway=gateway,
        request_id=frame.request_id,
        epoch=frame.epoch,
        token_ids=token_ids,
        prompt_tokens=len(frame.prompt_ids),
        sampling=frame.sampling,
        arrived_at=now_s - frame.waited_ms / 1e3,
        namespace=namespace,
        names=BlockNames(keys.chain(namespace, adapter), token_ids) if keys is not None else None,
        replayed_tokens=len(frame.emitted_ids),
        adapter=adapter,
    )


def engine_request(gateway: int, frame: Submit, now_s: float, adapter: str = "") -> EngineRequest:
    """Return what the scheduling core needs to know of `frame`; relative times become times of our clock.

    `adapter` is the key of the adapter that the frame names.
    """
    return EngineRequest(
        request_id=key_of(gateway, frame.request_id),
        prompt_tokens=len(frame.prompt_ids),
        max_output_tokens=frame.sampling.max_tokens,
        emitted_tokens=len(frame.emitted_ids),
        priority=frame.priority,
        ttft_deadline_ms=now_s * 1e3 + frame.ttft_slack_ms,
        tpot_budget_ms=frame.tpot_budget_ms or _UNBOUNDED_MS,
        preemptible=frame.preemptible,
        tenant=frame.tenant,
        adapter=adapter,
        speculate=frame.speculate and not frame.sampling.sequential,
        batching=frame.batching,
        granularity=frame.granularity,
        save=frame.save,
    )


def problem_of(frame: Submit, vocab_size: int) -> str:
    """Return what makes `frame` impossible to compute, empty when nothing does."""
    ids = (*frame.prompt_ids, *frame.emitted_ids)
    if not frame.prompt_ids:
        return "prompt_ids is empty: a prompt has at least one token"
    if min(ids) < 0 or max(ids) >= vocab_size:
        return f"prompt_ids or emitted_ids hold an id outside 0 to {vocab_size - 1}: use this model's tokenizer"
    return problem_of_sampling(frame.sampling, vocab_size)
