"""Prompts that were sent to workers and of which no token came back yet.

    as seen by priority p:   backlog_w = max(backlog_w - prompts of priorities below p on w, 0)

A request passes the prompts that lower priorities wait with on a worker, so they are no backlog to it.

Inputs: dispatches, first tokens and ends of one gateway. Bounds: an entry for each prompt on its way, a sum for each
worker and priority that has one; a look costs what there are workers, not what there are prompts.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from tierline.scheduling.routing.choice import WorkerView


class SentPrompt(msgspec.Struct, frozen=True):
    """One prompt: where it was sent, when, how many tokens had to be computed, and whether its stream had begun."""

    worker: str
    priority: int
    at_ms: float
    tokens: int
    resumed: bool = False


class SentPrompts:
    """Prompts by request, and their sums; pure state."""

    def __init__(self) -> None:
        self._by_id: dict[str, SentPrompt] = {}
        self._tokens: dict[str, Counter[int]] = {}

    def sent(self, request_id: str, prompt: SentPrompt) -> None:
        """Note a dispatch; where it was sent before, it waits no longer."""
        self.left(request_id)
        self._by_id[request_id] = prompt
        self._tokens.setdefault(prompt.worker, Counter())[prompt.priority] += prompt.tokens

    def left(self, request_id: str) -> SentPrompt | None:
        """Forget a prompt that was computed or given up, and return it; it need not be there."""
        prompt = self._by_id.pop(request_id, None)
        if prompt is not None:
            tokens = self._tokens[prompt.worker]
            tokens[prompt.priority] -= prompt.tokens
            if not tokens[prompt.priority]:
                del tokens[prompt.priority]
            if not tokens:
                del self._tokens[prompt.worker]
        return prompt

    def as_seen_by(self, priority: int, workers: Iterable[WorkerView]) -> list[WorkerView]:
        """Return the workers without the prompts that lower priorities wait with there."""
        if not any(rank < priority for tokens in self._tokens.values() for rank in tokens):
            return list(workers)
        return [self._without_lower(priority, worker) for worker in workers]

    def _without_lower(self, priority: int, worker: WorkerView) -> WorkerView:
        tokens = self._tokens.get(worker.name)
        passed = sum(count for rank, count in tokens.items() if rank < priority) if tokens else 0
        return replace(worker, backlog_tokens=max(worker.backlog_tokens - passed, 0)) if passed else worker
