"""What routing saw when it chose a worker: kept by reference, weighed again when somebody asks.

`candidates` repeats the figures of `routing` for each worker of a `Route`; nothing is computed while requests run.
"""

from collections.abc import Set
from dataclasses import dataclass

import msgspec

from tierline.scheduling.routing.choice import ALIKE, Need, WorkerView, first_token_ms, load_score, step_ms
from tierline.wire.credits import blocks_for


class Route(msgspec.Struct, frozen=True):
    """One choice: the accepting workers, the request's need, whom to avoid, and who was chosen, empty for nobody."""

    workers: tuple[WorkerView, ...]
    need: Need
    avoid: Set[str]
    chosen: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker as it was weighed. `obstacle` says why it could not take the request, empty when it could.

    Predictions are None for a worker that published no latency model; `pace_ms` is an iteration with one stream more.
    """

    name: str
    obstacle: str
    first_token_ms: float | None
    pace_ms: float | None
    keeps_pace: bool
    has_room: bool
    cached_tokens: int
    backlog_tokens: int
    requests: int
    load: float
    stale: bool
    near: bool
    avoided: bool


def candidates(route: Route) -> tuple[Candidate, ...]:
    """Return all workers of a route, the chosen one first, then those that could take it by their first token."""
    weighed = [_weighed(worker, route) for worker in route.workers]
    return tuple(sorted(weighed, key=lambda one: (one.name != route.chosen, bool(one.obstacle), _soonest(one))))


def rule(route: Route) -> str:
    """Return in words by which rule the chosen worker was chosen, or why nobody was."""
    weighed = candidates(route)
    able = [one for one in weighed if not one.obstacle]
    if not route.chosen:
        return "no worker could take it" if weighed else "no worker accepts requests"
    chosen = next((one for one in weighed if one.name == route.chosen), weighed[0])
    others = [one for one in able if one.name != route.chosen]
    if not others:
        return "the only worker that could take it"
    if chosen.near and not all(one.near for one in others):
        return "it computes the prompt already, for another choice of the same answer"
    if not chosen.avoided and all(one.avoided for one in others):
        return "the request failed on the others"
    if chosen.first_token_ms is None or chosen.stale:
        return "no worker's figures can be believed now: the less loaded one of two"
    return _better(chosen, [one for one in others if one.first_token_ms is not None and not one.stale])


def _better(chosen: Candidate, others: list[Candidate]) -> str:
    if not others:
        return "the only one whose figures can be believed now"
    if chosen.keeps_pace and not any(one.keeps_pace for one in others):
        return "the only one that keeps its time per token with one stream more"
    rivals = [one for one in others if one.keeps_pace == chosen.keeps_pace]
    if rivals and chosen.has_room and not any(one.has_room for one in rivals):
        return "the only one with room for the whole answer"
    rivals = [one for one in rivals if one.has_room == chosen.has_room]
    alike = [one for one in rivals if _soonest(one) <= ALIKE * _soonest(chosen)]
    return "the least loaded of those whose first token comes alike soon" if alike else "its first token comes soonest"


def _soonest(candidate: Candidate) -> float:
    return float("inf") if candidate.first_token_ms is None else candidate.first_token_ms


def _weighed(worker: WorkerView, route: Route) -> Candidate:
    need, latency = route.need, worker.latency
    wanted = blocks_for(int(max(need.expected_tokens, need.context_tokens)), worker.block_tokens)
    pace_ms = None if latency is None else step_ms(worker, latency, more_requests=1)
    return Candidate(
        name=worker.name,
        obstacle=_obstacle(worker, need),
        first_token_ms=None if latency is None else first_token_ms(worker, latency, need),
        pace_ms=pace_ms,
        keeps_pace=pace_ms is None or pace_ms <= need.tpot_budget_ms,
        has_room=worker.used_blocks + wanted <= worker.total_blocks,
        cached_tokens=need.cached_tokens.get(worker.name, 0),
        backlog_tokens=worker.backlog_tokens,
        requests=worker.requests,
        load=load_score(worker),
        stale=worker.stale,
        near=worker.name in need.near,
        avoided=worker.name in route.avoid,
    )


def _obstacle(worker: WorkerView, need: Need) -> str:
    if need.adapter and need.adapter not in worker.adapters:
        return f"does not serve adapter {need.adapter}"
    if worker.can_take(need.context_tokens, need.total_tokens, need.priority):
        return ""
    if need.total_tokens > worker.window_tokens or need.context_tokens >= worker.window_tokens:
        return f"holds {worker.window_tokens} tokens at most"
    return "grants no place" if worker.credit_requests < 1 else f"grants {max(worker.credit_blocks, 0)} blocks only"
