"""How many requests may wait on a worker.

A prompt on a worker has its turn almost fixed, while one at the gateway still goes by tier, tenant and deadline. A
worker that takes in all it has slots for keeps the queue where no policy reaches it. So it asks for as much as its next
iteration starts, and a little more, lest the device wait for the network.
"""

from tierline.scheduling.plans import EngineLimits

AHEAD_REQUESTS = 2
"""So many prompts may wait however long they are: one that is computed next and one for the iteration after it."""

_SMOOTHING = 0.1


class Feed:
    """Learns how long prompts are and how much of them an iteration computes."""

    def __init__(self, limits: EngineLimits) -> None:
        # Until it knows better it takes prompts for long, so that the first burst does not fill the worker.
        self._prompt_tokens = float(limits.max_batched_tokens)
        self._most_tokens = limits.max_batched_tokens
        self._iteration_tokens = limits.max_batched_tokens

    def submitted(self, context_tokens: int) -> None:
        """Note a request that came in."""
        self._prompt_tokens += _SMOOTHING * (context_tokens - self._prompt_tokens)

    def planned(self, prompt_tokens: int, backlog_tokens: int) -> None:
        """Note how many tokens of prompts an iteration computes, and how many are left; if none are, it takes more."""
        if not prompt_tokens:
            return
        more = prompt_tokens if backlog_tokens else max(prompt_tokens, 2 * self._iteration_tokens)
        self._iteration_tokens = min(more, self._most_tokens)

    def room(self, waiting_requests: int, backlog_tokens: int) -> int:
        """Return how many more requests to ask for while prompts of `backlog_tokens` tokens are not computed yet."""
        soon = (self._iteration_tokens - backlog_tokens) / self._prompt_tokens
        return max(AHEAD_REQUESTS - waiting_requests, int(soon), 0)
