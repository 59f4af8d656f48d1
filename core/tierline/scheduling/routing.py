"""Which worker gets a request: the least loaded of those that may and can take it now."""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from tierline.scheduling.first_token import alone_ms
from tierline.scheduling.latency import Coefficients
from tierline.wire.credits import submit_cost_blocks


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as one gateway sees it at one moment.

    `accepting` is false while it drains, is about to be reclaimed, or is not ready. `outstanding_requests` is what this
    gateway has on it, known exactly; `reported_requests` is what it said it holds, of all gateways, a moment ago.
    `latency` is the model it published.
    """

    name: str
    accepting: bool
    credit_requests: int
    credit_blocks: int
    block_tokens: int
    max_model_tokens: int
    total_blocks: int
    outstanding_requests: int = 0
    reported_requests: int = 0
    used_blocks: int = 0
    latency: Coefficients | None = None

    @property
    def window_tokens(self) -> int:
        """The longest prompt and answer together that it can hold."""
        return min(self.max_model_tokens, self.total_blocks * self.block_tokens)

    def can_take(self, context_tokens: int, total_tokens: int) -> bool:
        """Whether it may get, now, a request that is `context_tokens` long and at most `total_tokens` in the end."""
        cost = submit_cost_blocks(context_tokens, self.block_tokens)
        return (
            self.accepting
            and self.credit_requests >= 1
            and self.credit_blocks >= cost
            and context_tokens < self.window_tokens
            and total_tokens <= self.window_tokens
        )


def load_score(worker: WorkerView) -> float:
    """Return how loaded a worker is, lower is better: requests it holds, then the share of its memory in use.

    Reports are a moment old, so what this gateway itself sent since counts at least.
    """
    requests = max(worker.outstanding_requests, worker.reported_requests)
    return requests + worker.used_blocks / max(worker.total_blocks, 1)


def choose_worker(
    workers: Iterable[WorkerView], context_tokens: int, total_tokens: int, avoid: Set[str] = frozenset()
) -> WorkerView | None:
    """Return the least loaded worker that can take the request, or None; those in `avoid` only when no other can."""
    able = [worker for worker in workers if worker.can_take(context_tokens, total_tokens)]
    return min(able, key=lambda worker: (worker.name in avoid, load_score(worker), worker.name), default=None)


def fastest_alone_ms(workers: Iterable[WorkerView], prompt_tokens: int) -> float:
    """Return how long the fastest accepting worker takes for a prompt when idle; 0 while none has told."""
    known = (worker.latency for worker in workers if worker.accepting and worker.latency is not None)
    return min((alone_ms(latency, prompt_tokens) for latency in known), default=0.0)
