"""What goes into and comes out of the scheduling core of a worker.

Requests live in slots, rows of persistent arrays. A plan names slots and positions, never token values: the executor
keeps the tokens (`tokens[slot, position]`) and the block table (`block_table[slot, index]`), applies the plan's deltas
to them, computes, writes each sampled token to its position and reports what finished. So planning can run one step
ahead of the device: plan N+1 is made before the result of N is known.
"""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tierline.api.decision_matrix import BatchingMode, PreemptionGranularity, PreemptionSave
from tierline.scheduling.memory.transfers import Transfer
from tierline.wire.credits import blocks_for

_NONE: NDArray[np.int32] = np.empty(0, np.int32)
NO_COPIES: NDArray[np.int32] = np.empty((0, 2), np.int32)
_MAY_BE_OFF = frozenset({"prefix_caching", "host_blocks", "disk_blocks", "max_draft_tokens", "max_adapters"})


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What one engine can hold; raises `ValueError` naming the field when the limits contradict each other.

    There are `max_running_requests` slots, and a request holds one from `submit` to its end, also while it waits or is
    parked. `max_batched_tokens` is the most an iteration computes; as running requests decode first, one token each,
    it may not be below the number of slots.

    What may be 0 is off then: `host_blocks` and `disk_blocks` are the pages that keep preempted KV outside the arena,
    `max_draft_tokens` the longest speculation of a row, `max_adapters` the most adapters resident at a time. A request
    of a Slice tier generates `slice_tokens` before others have a turn. With more than `pressure_percent` of the blocks
    in use low priorities begin to yield to higher ones that run (framework §9.6); 100: only when no block is left.
    """

    max_running_requests: int
    max_batched_tokens: int
    max_model_tokens: int
    block_tokens: int
    total_blocks: int
    max_partial_prefills: int = 2
    slice_tokens: int = 128
    pressure_percent: int = 97
    prefix_caching: bool = False
    host_blocks: int = 0
    disk_blocks: int = 0
    max_draft_tokens: int = 0
    max_adapters: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            least = 0 if name in _MAY_BE_OFF else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: set it to {least} or more")
        if self.pressure_percent > 100:
            raise ValueError(f"pressure_percent is {self.pressure_percent}: set it to 100 or less")
        if self.max_batched_tokens < self.max_running_requests:
            raise ValueError(
                f"max_batched_tokens is {self.max_batched_tokens}, below max_running_requests "
                f"({self.max_running_requests}): raise the first or lower the second"
            )

    @property
    def blocks_per_request(self) -> int:
        """The longest row of a block table."""
        return blocks_for(self.max_model_tokens, self.block_tokens)


class EngineRequest(msgspec.Struct, frozen=True):
    """A request as the worker's core sees it: lengths, limits and urgency, no token values.

    `emitted_tokens` were generated elsewhere before and count as context to recompute. `max_output_tokens` includes
    them. `ttft_deadline_ms` is on the caller's clock, the one that is passed to `plan` as `now_ms`.

    `block_keys` name the full blocks of the context in order (see `prefix_keys`); none: nothing of it is shared.
    `fork_of` is a request with the same prompt, whose computed blocks this one takes over when they are there.
    `adapter` is the LoRA adapter it is computed with, empty for the model alone. `speculate` allows draft tokens.
    """

    request_id: str
    prompt_tokens: int
    max_output_tokens: int
    emitted_tokens: int = 0
    priority: int = 0
    ttft_deadline_ms: float = float("inf")
    tpot_budget_ms: float = float("inf")
    preemptible: bool = True
    tenant: str = ""
    block_keys: tuple[bytes, ...] = ()
    fork_of: str = ""
    adapter: str = ""
    batching: BatchingMode = "Continuous"
    granularity: PreemptionGranularity = "Request"
    save: PreemptionSave = "Recompute"
    speculate: bool = False

    @property
    def context_tokens(self) -> int:
        """Tokens whose KV must exist before the next one can be sampled."""
        return self.prompt_tokens + self.emitted_tokens

    @property
    def max_total_tokens(self) -> int:
        return self.prompt_tokens + self.max_output_tokens


class Admitted(msgspec.Struct, frozen=True):
    """A request that is computed for the first time: the executor loads its known tokens into `tokens[slot]`.

    A preempted request keeps its slot and with it its tokens, so it is not announced again when it resumes.
    """

    request_id: str
    slot: int


@dataclass(frozen=True, slots=True)
class AdapterLoad:
    """An adapter's weights are to be copied into arena blocks: its page i into `blocks[i]`, int32 [pages].

    Nothing that is computed reads these blocks before. Where the adapter lay earlier, others may write from now on.
    """

    adapter: str
    blocks: NDArray[np.int32]


class BatchPlan(msgspec.Struct, frozen=True):
    """One iteration's work: row i computes `counts[i]` tokens of slot `slots[i]` from position `starts[i]`.

    slots, starts, counts: int32 [n]. samples: bool [n], true where the last computed position yields a new token,
    which belongs to position `starts[i] + counts[i]`. block_updates: int32 [u, 3] rows (slot, index, block), to be
    applied before computing. Rows that decode (one token each) come first, `decodes` of them.

    drafts: int32 [n] (empty: none anywhere): the last `drafts[i]` tokens of row i are proposals of the executor's
    drafter, at most that many; they are verified by the same computation, and such a row samples at each of its last
    `drafts[i] + 1` positions. copies: int32 [c, 2] rows (source block, target block), copy-on-write; all sources are
    read before any target is written.

    adapters: what is to be in the arena before this plan's rows are computed. adapter_tokens: tokens of rows whose
    request has an adapter.

    An executor applies in this order: SAVE transfers (their blocks may be overwritten afterwards), adapters, block
    updates, copies, LOAD transfers (which may end later, told by `SchedulerCore.transferred`). Then it computes.
    """

    iteration: int
    slots: NDArray[np.int32]
    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    samples: NDArray[np.bool_]
    block_updates: NDArray[np.int32]
    decodes: int
    admitted: tuple[Admitted, ...] = ()
    drafts: NDArray[np.int32] = _NONE
    copies: NDArray[np.int32] = NO_COPIES
    transfers: tuple[Transfer, ...] = ()
    adapters: tuple[AdapterLoad, ...] = ()
    adapter_tokens: int = 0

    @property
    def tokens(self) -> int:
        return int(np.add.reduce(self.counts))


class IterationResult(msgspec.Struct, frozen=True):
    """What the executor reports of one plan: `stopped[i]` says that row i sampled a stop token.

    Only rows with `samples` count. `elapsed_ms` feeds the latency model. `sampled[i]` is how many tokens row i gave
    (1 and the accepted drafts before a stop), `drafted[i]` how many drafts it verified; empty arrays: one and none.
    `out_of_memory`: the rows did not fit into the memory together and were computed in parts.
    """

    iteration: int
    stopped: NDArray[np.bool_]
    elapsed_ms: float
    sampled: NDArray[np.int32] = _NONE
    drafted: NDArray[np.int32] = _NONE
    out_of_memory: bool = False


class Finished(msgspec.Struct, frozen=True):
    """A request that ended with a result, `reason` "stop" or "length". Its last row is among the delivered ones.

    Its slot is used again only after every iteration that computes on it has been committed.
    """

    request_id: str
    slot: int
    reason: str


class Committed(msgspec.Struct, frozen=True):
    """What a result meant: rows of the plan whose sampled token is to be delivered, and the requests that ended.

    Rows of requests that had ended or were cancelled while the iteration ran are left out of `delivered`.
    """

    delivered: tuple[int, ...] = ()
    finished: tuple[Finished, ...] = ()
