"""What is known of one request's generation, enough to continue it on any worker.

Prompt ids, sampling with its seed, and every id that arrived. Continuing is a `Submit` with the emitted ids: the new
worker computes their KV and goes on at the next position. Since randomness is keyed by (seed, position), it samples
what the lost one would have sampled.
"""

from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, Unpack

import msgspec

from tierline.api.decision_matrix import BatchingMode, PreemptionGranularity, PreemptionSave
from tierline.wire.frames import Sampling, Submit, TokenBatch


class SubmitPolicy(TypedDict):
    """The fields of `Submit` that come from tier, tenant and the answer's other choices."""

    tenant: str
    tier: str
    priority: int
    waited_ms: int
    ttft_slack_ms: int
    tpot_budget_ms: int
    preemptible: bool
    cache_namespace: str
    batching: BatchingMode
    granularity: PreemptionGranularity
    save: PreemptionSave
    speculate: bool
    adapter: str
    fork_of: NotRequired[str]


class JournalGap(ValueError):
    """A batch that starts after the next position: tokens between were lost, so the stream must be replayed."""


@dataclass(slots=True)
class Journal:
    """The token record of one request. `epoch` is the only placement whose batches count."""

    request_id: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    epoch: int = 0
    emitted_ids: list[int] = field(default_factory=list)
    duplicates_dropped: int = 0
    recomputed_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        """Tokens that a worker must hold before it can give the next one."""
        return len(self.prompt_ids) + len(self.emitted_ids)

    def placed(self, epoch: int) -> None:
        """Start a new placement; what comes from earlier ones is stale from now on."""
        self.epoch = epoch

    def replayed(self) -> None:
        """Note that a worker which had started the request is left: the next one computes all of it again."""
        self.recomputed_tokens += self.context_tokens

    @property
    def total_tokens(self) -> int:
        """Prompt and the longest answer that was asked for."""
        return len(self.prompt_ids) + self.sampling.max_tokens

    def submit(self, window_tokens: int, **policy: Unpack[SubmitPolicy]) -> Submit:
        """Return the frame that starts or continues the request on a worker with this window."""
        longest = min(self.sampling.max_tokens, window_tokens - len(self.prompt_ids))
        sampling = msgspec.structs.replace(self.sampling, max_tokens=longest)
        return Submit(self.request_id, self.epoch, self.prompt_ids, sampling, tuple(self.emitted_ids), **policy)

    def accept(self, batch: TokenBatch) -> tuple[int, ...]:
        """Record a batch and return the ids that are new; raises `JournalGap`."""
        if batch.epoch != self.epoch:
            self.duplicates_dropped += len(batch.token_ids)
            return ()
        seen = len(self.emitted_ids) - batch.first_position
        if seen < 0:
            raise JournalGap(f"{self.request_id}: position {batch.first_position} after {len(self.emitted_ids)}")
        fresh = batch.token_ids
        if seen:
            fresh = fresh[seen:]
            self.duplicates_dropped += len(batch.token_ids) - len(fresh)
        self.emitted_ids.extend(fresh)
        return fresh
