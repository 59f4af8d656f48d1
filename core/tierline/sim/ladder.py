"""The ladder of policies that a simulation compares, from what engines did first to what Tierline ships.

Each step runs the shipped queue, admission, routing and engine core and only hides from them what its policy does not
know: tiers, tenants, deadlines, the pace that a tier promises. Prefill-first is how continuous batching began
(Yu et al., "Orca", OSDI 2022); chunked prefill with a fixed token budget is Sarathi-Serve (Agrawal et al., OSDI 2024).
The last step, the oracle, is no policy that could run: see `oracle`.
"""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from msgspec.structs import replace

from tierline.scheduling.batching.batch import Batch
from tierline.scheduling.batching.planner import BatchPlanner
from tierline.scheduling.plans import EngineLimits, EngineRequest
from tierline.scheduling.queueing.queued import QueuedRequest

STATIC_CHUNK_TOKENS = 1024
"""Fixed token budget of an iteration where the policy knows no pace; the best one at 50 ms a token on an H100."""


class PrefillFirst(BatchPlanner):
    """As early continuous batching did: while a prompt can be computed, nobody decodes."""

    def compose(self, iteration: int) -> Batch:
        none = np.empty(0, np.int64)
        batch = Batch(iteration, none, none, self._limits.max_batched_tokens, float("inf"))
        self._prompts(batch)
        return self._decodes(iteration) if batch.empty else batch


class Order(StrEnum):
    """What the queue is told: nothing but the arrival, the deadline, or everything."""

    ARRIVAL = "arrival"
    DEADLINE = "deadline"
    TIER = "tier"


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """One step of the ladder. `refuses` says whether admission and expiry apply, `paced` whether TPOT budgets do,
    `clairvoyant` whether the length of each answer is known when it comes, `about` says it to users."""

    name: str
    order: Order
    refuses: bool
    paced: bool
    planner: type[BatchPlanner] = BatchPlanner
    clairvoyant: bool = False
    about: str = ""

    def limits(self, limits: EngineLimits) -> EngineLimits:
        """Return the engine's limits under this policy."""
        if self.paced or self.planner is not BatchPlanner:
            return limits
        budget = max(min(limits.max_batched_tokens, STATIC_CHUNK_TOKENS), limits.max_running_requests)
        return dataclasses.replace(limits, max_batched_tokens=budget)

    def queued(self, request: QueuedRequest) -> QueuedRequest:
        """Return the request as this policy's queue sees it."""
        known = request if self.refuses else replace(request, expires_ms=float("inf"))
        if self.clairvoyant:
            known = replace(known, expected_output_tokens=float(request.total_tokens - request.context_tokens))
        if self.order is Order.TIER:
            return known
        deadline_ms = request.arrival_ms if self.order is Order.ARRIVAL else request.deadline_ms
        return replace(known, tenant="", priority=0, deadline_ms=deadline_ms, weight=1)

    def engine_request(self, request: EngineRequest, arrival_ms: float) -> EngineRequest:
        """Return the request as this policy's engine sees it."""
        paced = request if self.paced else replace(request, tpot_budget_ms=float("inf"))
        if self.order is Order.TIER:
            return paced
        deadline_ms = arrival_ms if self.order is Order.ARRIVAL else request.ttft_deadline_ms
        return replace(paced, priority=0, ttft_deadline_ms=deadline_ms, preemptible=True)


_STEPS = (
    Policy(
        "fcfs-prefill-first",
        Order.ARRIVAL,
        refuses=False,
        paced=False,
        planner=PrefillFirst,
        about="First come, first served; while a prompt can be computed nobody decodes. As continuous batching began.",
    ),
    Policy(
        "fcfs-chunked",
        Order.ARRIVAL,
        refuses=False,
        paced=False,
        about="First come, first served; prompts in chunks beside the decodes, with a fixed token budget.",
    ),
    Policy(
        "edf",
        Order.DEADLINE,
        refuses=False,
        paced=True,
        about="The earliest first-token deadline first; chunks as long as the batch's tightest time per token allows.",
    ),
    Policy(
        "edf+admission",
        Order.DEADLINE,
        refuses=True,
        paced=True,
        about="As edf, and who would come too late is refused at once.",
    ),
    Policy(
        "tierline",
        Order.TIER,
        refuses=True,
        paced=True,
        about="What Tierline ships: tiers, weighted shares of tenants, deadlines, admission, pace.",
    ),
    Policy(
        "oracle",
        Order.TIER,
        refuses=True,
        paced=True,
        clairvoyant=True,
        about="Knows how long each answer becomes and, in hindsight, who would be late; the best of several schedules. "
        "A reference that nobody could run.",
    ),
)

LADDER: Mapping[str, Policy] = MappingProxyType({policy.name: policy for policy in _STEPS})
