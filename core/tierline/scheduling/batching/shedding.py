"""How many tokens an iteration may compute after one did not fit into the memory.

    out of memory at n tokens:       limit = max(least, min(limit, n) / 2)
    CALM_ITERATIONS that fitted:     limit = min(most, limit + most / 8)

Additive increase, multiplicative decrease (Chiu and Jain, 1989): the activations of an iteration grow with its tokens,
so halving them fits after a few tries whatever took the memory, and what gives it back is found out in small steps.

Inputs: the tokens of each committed iteration, and whether it ran out of memory. Bounds: `least` is one token for each
running request, since decodes are never delayed; `most` is the configured `max_batched_tokens`.

Not for: KV blocks, which are allocated before the first request comes; their shortage is the preemptor's.
"""

from tierline.scheduling.plans import EngineLimits

CALM_ITERATIONS = 64
_STEPS_UP = 8


class TokenLimit:
    """The present limit of one engine, `tokens`."""

    def __init__(self, limits: EngineLimits) -> None:
        self.most = limits.max_batched_tokens
        self.least = limits.max_running_requests
        self.tokens = self.most
        self.calm_iterations = 0

    def committed(self, tokens: int, out_of_memory: bool) -> None:
        """Learn from an iteration that computed `tokens`."""
        if out_of_memory:
            self.tokens = max(self.least, min(self.tokens, tokens) // 2)
            self.calm_iterations = 0
        elif self.tokens < self.most:
            self._calm()

    def _calm(self) -> None:
        self.calm_iterations += 1
        if self.calm_iterations >= CALM_ITERATIONS:
            self.tokens = min(self.most, self.tokens + max(self.most // _STEPS_UP, 1))
            self.calm_iterations = 0
