"""What goes into and comes out of the scheduling core of a worker.

Requests live in slots, rows of persistent arrays. A plan names slots and positions, never token values: the executor
keeps the tokens (`tokens[slot, position]`) and the block table (`block_table[slot, index]`), applies the plan's deltas
to them, computes, writes each sampled token to its position and reports what finished. So planning can run one step
ahead of the device: plan N+1 is made before the result of N is known.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tierline.wire.credits import blocks_for


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What one engine can hold; raises `ValueError` naming the field when the limits contradict each other.

    There are `max_running_requests` slots, and a request holds one from `submit` to its end, also while it waits or is
    parked. `max_batched_tokens` is the most an iteration computes; as running requests decode first, one token each,
    it may not be below the number of slots.
    """

    max_running_requests: int
    max_batched_tokens: int
    max_model_tokens: int
    block_tokens: int
    total_blocks: int
    max_partial_prefills: int = 2

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: set it to 1 or more")
        if self.max_batched_tokens < self.max_running_requests:
            raise ValueError(
                f"max_batched_tokens is {self.max_batched_tokens}, below max_running_requests "
                f"({self.max_running_requests}): raise the first or lower the second"
            )

    @property
    def blocks_per_request(self) -> int:
        """The longest row of a block table."""
        return blocks_for(self.max_model_tokens, self.block_tokens)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A request as the worker's core sees it: lengths, limits and urgency, no token values.

    `emitted_tokens` were generated elsewhere before and count as context to recompute. `max_output_tokens` includes
    them. `ttft_deadline_ms` is on the caller's clock, the one that is passed to `plan` as `now_ms`.
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

    @property
    def context_tokens(self) -> int:
        """Tokens whose KV must exist before the next one can be sampled."""
        return self.prompt_tokens + self.emitted_tokens

    @property
    def max_total_tokens(self) -> int:
        return self.prompt_tokens + self.max_output_tokens


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that is computed for the first time: the executor loads its known tokens into `tokens[slot]`.

    A preempted request keeps its slot and with it its tokens, so it is not announced again when it resumes.
    """

    request_id: str
    slot: int


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """One iteration's work: row i computes `counts[i]` tokens of slot `slots[i]` from position `starts[i]`.

    slots, starts, counts: int32 [n]. samples: bool [n], true where the last computed position yields a new token,
    which belongs to position `starts[i] + counts[i]`. block_updates: int32 [u, 3] rows (slot, index, block), to be
    applied before computing. Rows that decode (one token each) come first, `decodes` of them.
    """

    iteration: int
    slots: NDArray[np.int32]
    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    samples: NDArray[np.bool_]
    block_updates: NDArray[np.int32]
    decodes: int
    admitted: tuple[Admitted, ...] = ()

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class IterationResult:
    """What the executor reports of one plan: `stopped[i]` says that row i sampled a stop token.

    Only rows with `samples` count. `elapsed_ms` feeds the latency model.
    """

    iteration: int
    stopped: NDArray[np.bool_]
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that ended with a result, `reason` "stop" or "length". Its last row is among the delivered ones.

    Its slot is used again only after every iteration that computes on it has been committed.
    """

    request_id: str
    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """What a result meant: rows of the plan whose sampled token is to be delivered, and the requests that ended.

    Rows of requests that had ended or were cancelled while the iteration ran are left out of `delivered`.
    """

    delivered: tuple[int, ...] = ()
    finished: tuple[Finished, ...] = field(default=())
