"""A request that waits: what the queue must know of it, what it costs its tenant, and its place in the tenant's line.

    latest start = deadline - prefill              prefill: what the prompt takes on an idle worker
    place        = latest start - user_priority * worth          worth = min(deadline - arrival, WORTH_MS)

The time of its own prefill is part of the slack, so a long prompt is started earlier than a short one due at the same
time. It is not the time to the first token as it is under load: what load adds is alike for all that wait now, but
would put those that came while more was going on before those that came earlier (measured: E6 lost 17 % by it).

A step of user priority is worth as much waiting as the tier's target allows for the first token. That is aging written
as a constant key: each `worth` that a request waited counts as one step more, so one of its tenant with k steps more
passes it only when it came less than k * worth later (of one tier and equal prompts). User priority orders a tenant's
own requests; it does not make the tenant more urgent than others.
"""

from math import inf
from typing import Final, NamedTuple

import msgspec

PROMPT_WEIGHT: Final = 1.0
OUTPUT_WEIGHT: Final = 2.0
DEFAULT_SERVICE_DIFFERENCE_TOKENS: Final = 2048
UNLIMITED_DIFFERENCE_TOKENS: Final = 10**15
USER_PRIORITY_MAX: Final = 2
WORTH_MS: Final = 60_000.0

Place = tuple[float, float, str]


class Ahead(NamedTuple):
    """What is served before a request: so many requests, parts of one included, with so many tokens to compute."""

    requests: float
    prompt_tokens: float


class QueuedRequest(msgspec.Struct, frozen=True):
    """What the queue must know of a request; times are on the caller's clock.

    `context_tokens` is what a worker has to hold before the first new token, `total_tokens` at the most in the end.
    `expected_output_tokens` is how long the answer probably becomes, `prefill_ms` what its prompt takes
    on an idle worker. `resumed` marks a stream that was already delivering; its client sees a gap, so it goes
    first in its tier. `expires_ms` is when waiting longer is pointless. `shares_prompt` marks a further answer to a
    prompt that its tenant pays for with the first one. `user_priority` is the client's, from -2 to 2. `quantum_tokens`
    is above 0 where requests with a cached prefix go first (`locality_order`). `cached_tokens` of its context some
    worker probably holds. `tpot_budget_ms` is its pace, `peak_tokens` what prompt and answer will hardly exceed
    together, `max_kv_cache_percent` its tenant's share of all workers' memory.
    """

    request_id: str
    tenant: str
    tier: str
    priority: int
    context_tokens: int
    total_tokens: int
    arrival_ms: float
    deadline_ms: float
    expires_ms: float
    expected_output_tokens: float = 0.0
    weight: int = 1
    service_difference_tokens: int = DEFAULT_SERVICE_DIFFERENCE_TOKENS
    resumed: bool = False
    shares_prompt: bool = False
    user_priority: int = 0
    prefill_ms: float = 0.0
    quantum_tokens: int = 0
    cached_tokens: int = 0
    tpot_budget_ms: float = inf
    peak_tokens: float = 0.0
    max_kv_cache_percent: int | None = None

    @property
    def missing_tokens(self) -> int:
        """What a worker has to compute before its first new token."""
        return self.context_tokens - min(self.cached_tokens, self.context_tokens - 1)

    @property
    def latest_start_ms(self) -> float:
        """When it has to start for its first token to come in time."""
        return self.deadline_ms - self.prefill_ms

    @property
    def place(self) -> Place:
        """Place within one tenant and priority."""
        steps = max(-USER_PRIORITY_MAX, min(self.user_priority, USER_PRIORITY_MAX))
        worth_ms = max(min(self.deadline_ms - self.arrival_ms, WORTH_MS), 0.0)
        return (self.latest_start_ms - steps * worth_ms, self.arrival_ms, self.request_id)

    @property
    def prepaid(self) -> float:
        """What the answer is charged when it starts."""
        return OUTPUT_WEIGHT * self.expected_output_tokens / self.weight

    @property
    def cost(self) -> float:
        """What its tenant's counter rises by when it starts and nothing of its prompt is cached."""
        return self.cost_beyond(0)

    def cost_beyond(self, cached_tokens: int) -> float:
        """Return the cost when so much of the prompt is cached; never 0, so that a line of requests has an end."""
        prompt_tokens = 1 if self.shares_prompt else max(self.context_tokens - cached_tokens, 1)
        return PROMPT_WEIGHT * prompt_tokens / self.weight + self.prepaid
