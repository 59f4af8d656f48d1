"""What goes into and comes out of the scheduling core of a worker.

Requests live in slots, rows of persistent arrays. A plan names slots and positions, never token values: the executor
keeps the tokens (`tokens[slot, position]`) and the block table (`block_table[slot, index]`), applies the plan's deltas
to them, computes, writes each sampled token to its position and reports what finished. So planning can run one step
ahead of the device: plan N+1 is made before the result of N is known.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


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
    """A request that got a slot with this plan: the executor loads its known tokens into `tokens[slot]`."""

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
    """A request that ended with a result: its slot is free from the next plan on."""

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
