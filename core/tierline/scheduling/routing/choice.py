"""Which worker gets a request: the one that probably gives its first token soonest and breaks no promise by it.

    first_token_ms = step + chunk_ms(backlog + context - cached)        step = a + d*requests + e*KV

with the latency model that the worker publishes, its backlog of prompts (and what was sent since), and the part of the
prompt that it probably holds (`locality`). Before that counts whether one more stream would take the worker's pace
(step) over the request's budget per token, and whether its memory lacks room for the whole answer. Times within ten
percent are alike; among alike the least loaded is chosen, so that a guess about caches does not outweigh a queue.
Before load counts the role: without a handover of KV each worker computes both phases of what it gets, so prefill
workers rather take requests whose prompt costs more than their answer, decode workers the others; nobody is refused.

Inputs: `WorkerView` and `Need`. Bounds: waiting for the worker that holds a prefix is chosen only while its first
token, waiting included, comes first. When not to believe it: a worker whose signals are stale or that has published
nothing is taken after all others; when all are so, the less loaded one of two drawn by the request's id is taken
(Mitzenmacher, "The power of two choices", 2001), as the least loaded worker of a while ago is a herd's target.

A request that `holds_back` waits in the queue rather than break a promise that was made to another (`obstacle`):

    pace:    (a + d*(rivals + 1) + e*KV) * (1 + margin) * stretch  <=  its budget per token and that of every rival
    memory:  blocks that the rivals and it hold at the most at one time (`reservations`)  <=  blocks of the worker

Rivals are the requests there whose priority is at least its own: who yields does not count. `stretch` is what the batch
planner leaves to prompts in any case. A budget that an idle worker would break defends nothing and is left out, and a
worker without rivals takes everything, so that nothing waits for ever. Waiting for the pace of others is SLOs-Serve's
(arXiv 2504.08784) guarantee to the admitted, reserving for the likely end instead of the longest one UELLM's (arXiv
2409.14961).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from enum import StrEnum
from hashlib import blake2b
from math import floor, inf, log
from types import MappingProxyType
from typing import Final

import msgspec

from tierline.api.serving import Role
from tierline.scheduling.admission.first_token import alone_ms
from tierline.scheduling.batching.planner import INFEASIBLE_STRETCH
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.routing.reservations import NOBODY, Rivals
from tierline.wire.credits import blocks_for, submit_cost_blocks

ALIKE: Final = 1.1
LOADING_REQUESTS: Final = 2
"""So many requests more a worker may hold before one that must load the adapter first is the better one."""
NOTHING_CACHED: Final[Mapping[str, int]] = MappingProxyType({})


class WorkerView(msgspec.Struct, frozen=True):
    """A worker as one gateway sees it at one moment.

    `accepting` is false while it drains, is about to be reclaimed, or is not ready. `outstanding_requests` is what this
    gateway has on it, known exactly; `reported_requests` is what it said it holds, of all gateways, a moment ago.
    `backlog_tokens` are prompts that it has not computed yet. `latency` is the model it published. `stale` says that it
    has not been heard of for too long to believe its report. `rooms` is what requests above a priority find beyond the
    credit, `margin` what to add to predicted times and `pace_budget_ms` the tightest pace promised to who is there, 0
    when none is (see `wire.frames.Signals`). `adapters` are those that it serves, `resident_adapters` of them lie in
    its arena. `role` is the phase that its pool was sized for. `measured` says that its latency model has followed the
    device for a while; before, it is a guess.
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
    backlog_tokens: int = 0
    latency: Coefficients | None = None
    stale: bool = False
    rooms: tuple[tuple[int, int, int], ...] = ()
    adapters: frozenset[str] = frozenset()
    resident_adapters: frozenset[str] = frozenset()
    margin: float = 0.0
    pace_budget_ms: float = 0.0
    role: Role = "Unified"
    measured: bool = True

    @property
    def window_tokens(self) -> int:
        """The longest prompt and answer together that it can hold."""
        return min(self.max_model_tokens, self.total_blocks * self.block_tokens)

    @property
    def requests(self) -> int:
        """What it holds; reports are a moment old, so what this gateway itself sent since counts at least."""
        return max(self.outstanding_requests, self.reported_requests)

    def can_take(self, context_tokens: int, total_tokens: int, priority: int = 0) -> bool:
        """Whether it may get, now, a request that is `context_tokens` long and at most `total_tokens` in the end."""
        if not self.accepting:
            return False
        window = self.window_tokens
        if context_tokens >= window or total_tokens > window:
            return False
        cost = submit_cost_blocks(context_tokens, self.block_tokens)
        affords = self.credit_requests >= 1 and self.credit_blocks >= cost
        return affords or self._yields(cost, priority)

    def _yields(self, cost_blocks: int, priority: int) -> bool:
        """Whether lower priorities make room; what was overdrawn since the report counts as taken."""
        below = max((room for room in self.rooms if room[0] < priority), default=(0, 0, 0))
        requests = below[1] + min(self.credit_requests, 0)
        return requests >= 1 and below[2] + min(self.credit_blocks, 0) >= cost_blocks


class Need(msgspec.Struct, frozen=True):
    """What routing must know of a request; `cached_tokens` is by worker, 0 where nothing is said.

    `expected_tokens` is how long prompt and answer probably become together; `adapter` is the LoRA adapter that it is
    computed with, empty for none: only workers that serve it can take it. Workers in `near` compute other answers to
    the same prompt; with room for one more they go before all others. `peak_tokens` is how long prompt and answer will
    hardly exceed together, `rivals_on` a worker are the requests whose priority is at least its own, `peak_on` a worker
    the most tokens that they and it will hold at one time; both are as they are when they are asked for.
    """

    request_id: str
    context_tokens: int
    total_tokens: int
    expected_tokens: float = 0.0
    tpot_budget_ms: float = inf
    priority: int = 0
    adapter: str = ""
    cached_tokens: Mapping[str, int] = NOTHING_CACHED
    near: Set[str] = frozenset()
    peak_tokens: float = 0.0
    rivals_on: Callable[[str], Rivals] = lambda _worker: NOBODY
    peak_on: Callable[[str], float] = lambda _worker: 0.0
    holds_back: bool = False

    def lacks_cache_tokens(self, worker: str) -> int:
        """Return how many tokens of its context `worker` would have to compute."""
        return self.context_tokens - min(self.cached_tokens.get(worker, 0), self.context_tokens - 1)


class Obstacle(StrEnum):
    """Which promise a request would break."""

    PACE = "Pace"
    MEMORY = "Memory"


def choose_worker(workers: Iterable[WorkerView], need: Need, avoid: Set[str] = frozenset()) -> WorkerView | None:
    """Return the best worker that can take the request now, or None; those in `avoid` only when no other can."""
    able = [
        worker
        for worker in workers
        if (not need.adapter or need.adapter in worker.adapters)
        and worker.can_take(need.context_tokens, need.total_tokens, need.priority)
        and obstacle(worker, need) is None
    ]
    if avoid:
        able = [worker for worker in able if worker.name not in avoid] or able
    if need.near:
        able = [worker for worker in able if worker.name in need.near] or able
    known = [worker for worker in able if worker.latency is not None and not worker.stale]
    if known:
        return min(known, key=lambda worker: _rank(worker, need))
    return min(_two_of(able, need.request_id), key=lambda worker: (_load(worker, need), worker.name), default=None)


def step_ms(worker: WorkerView, latency: Coefficients, more_requests: int = 0) -> float:
    """Return how long an iteration takes in which all that the worker holds decode, and `more_requests`."""
    kv_tokens = worker.used_blocks * worker.block_tokens
    requests = worker.requests + more_requests
    return latency.iteration_ms + latency.decode_ms * requests + latency.kv_token_ms * kv_tokens


def first_token_ms(worker: WorkerView, latency: Coefficients, need: Need) -> float:
    """Return when the first token would come, what waits on the worker included."""
    missing = need.lacks_cache_tokens(worker.name)
    return step_ms(worker, latency) + latency.chunk_ms(worker.backlog_tokens + missing, need.context_tokens - missing)


def obstacle(worker: WorkerView, need: Need) -> Obstacle | None:
    """Return why the request should rather wait than start on this worker, None when nothing speaks against it."""
    if not need.holds_back:
        return None
    rivals = need.rivals_on(worker.name)
    strangers = max(worker.reported_requests - worker.outstanding_requests, 0)
    if not rivals.requests + strangers:
        return None
    if worker.latency is not None and planned_pace_ms(worker, worker.latency, need) > pace_limit_ms(worker, need):
        return Obstacle.PACE
    if (
        blocks_for(int(need.peak_tokens), worker.block_tokens) + rivals.blocks(worker.block_tokens)
        > worker.total_blocks
    ):
        # All their ends together would not fit, which is cheap to know; what counts is the most at one time.
        peak_blocks = need.peak_on(worker.name) / worker.block_tokens + (rivals.requests + 1) / 2
        return Obstacle.MEMORY if peak_blocks > worker.total_blocks else None
    return None


def planned_pace_ms(worker: WorkerView, latency: Coefficients, need: Need, more_requests: float = 0.0) -> float:
    """Return the time per token to plan with once the request runs beside its rivals and `more_requests` like it."""
    rivals = need.rivals_on(worker.name)
    strangers = max(worker.reported_requests - worker.outstanding_requests, 0)
    others = rivals.requests + strangers
    used = worker.used_blocks if strangers else min(worker.used_blocks, rivals.blocks(worker.block_tokens))
    kv_tokens = used * worker.block_tokens + need.context_tokens * (1 + more_requests)
    step = latency.iteration_ms + latency.decode_ms * (others + 1 + more_requests) + latency.kv_token_ms * kv_tokens
    return step * (1 + worker.margin) * INFEASIBLE_STRETCH


def pace_limit_ms(worker: WorkerView, need: Need) -> float:
    """Return the tightest budget per token of the request and its rivals that an idle worker would keep."""
    assert worker.latency is not None, "only workers that published a model have a pace"
    alone = worker.latency.iteration_ms + worker.latency.decode_ms + worker.latency.kv_token_ms * need.context_tokens
    strangers = worker.reported_requests > worker.outstanding_requests
    theirs = (worker.pace_budget_ms or inf) if strangers else inf
    rivals = need.rivals_on(worker.name)
    budgets = (need.tpot_budget_ms, rivals.tpot_budget_ms, theirs)
    return min((b for b in budgets if alone * (1 + worker.margin) * INFEASIBLE_STRETCH <= b), default=inf)


def load_score(worker: WorkerView) -> float:
    """Return how loaded a worker is, lower is better: requests it holds, then the share of its memory in use."""
    return worker.requests + worker.used_blocks / max(worker.total_blocks, 1)


def fastest_alone_ms(workers: Iterable[WorkerView], prompt_tokens: int, cached_tokens: int = 0) -> float:
    """Return how long the fastest accepting worker takes, when idle, for a prompt after what is cached of it; 0 while
    none has told."""
    known = (worker.latency for worker in workers if worker.accepting and worker.latency is not None)
    return min((alone_ms(latency, prompt_tokens, cached_tokens) for latency in known), default=0.0)


def common_obstacle(workers: Iterable[WorkerView], need: Need) -> Obstacle | None:
    """Return why every accepting worker holds the request back, None when one of them would take it."""
    first = None
    for worker in workers:
        if worker.accepting:
            found = obstacle(worker, need)
            if found is None:
                return None
            first = first or found
    return first


def _rank(worker: WorkerView, need: Need) -> tuple[bool, bool, int, bool, float, str]:
    assert worker.latency is not None, "only workers that published a model are ranked"
    too_slow = step_ms(worker, worker.latency, more_requests=1) > need.tpot_budget_ms
    wanted = blocks_for(int(max(need.expected_tokens, need.context_tokens)), worker.block_tokens)
    no_room = worker.used_blocks + wanted > worker.total_blocks
    sooner = floor(log(max(first_token_ms(worker, worker.latency, need), 1e-3)) / log(ALIKE))
    return (too_slow, no_room, sooner, _is_of_other_role(worker, need), _load(worker, need), worker.name)


def _is_of_other_role(worker: WorkerView, need: Need) -> bool:
    """Say whether a worker's pool was sized for the phase that costs less of this request, when both run alone."""
    if worker.role == "Unified" or worker.latency is None:
        return False
    answer_tokens = max(need.expected_tokens - need.context_tokens, 0.0)
    answer_ms = answer_tokens * (worker.latency.decode_ms + worker.latency.kv_token_ms * need.context_tokens)
    prompt_ms = worker.latency.chunk_ms(need.lacks_cache_tokens(worker.name), 0)
    return (worker.role == "Prefill") != (prompt_ms > answer_ms)


def _load(worker: WorkerView, need: Need) -> float:
    """Return how loaded a worker is for a request: to load an adapter, another one may have to go."""
    loads = bool(need.adapter) and need.adapter not in worker.resident_adapters
    return load_score(worker) + LOADING_REQUESTS * loads


def _two_of(workers: Sequence[WorkerView], request_id: str) -> Sequence[WorkerView]:
    """Draw two workers by the request's id, so that the same question has the same answer."""
    if len(workers) <= 2:
        return workers
    drawn = int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big")
    first, second = divmod(drawn % (len(workers) * (len(workers) - 1)), len(workers) - 1)
    return workers[first], workers[second + (second >= first)]
