"""Which group of requests an instance computes next, where several models share the instances of one front.

    urgent     = the earliest deadline among groups that can still be in time (when none can: the earliest of all)
    stay       = the earliest deadline among groups of the loaded model
    next       = stay   if   work(stay) + swap + work(urgent) ends by the deadline of urgent,   else urgent

QLM (Patke et al., arXiv 2407.00047) orders groups (model, tier, length class) on virtual queues by a linear program;
this is its greedy counterpart: earliest deadline first, but models are changed only when slack demands it, and what is
late already delays nobody else. The waiting time of a group is `waiting_time.predicted_wait_ms` over those before it.

Inputs: groups with deadline and work, what is loaded, the cost of a change. Bounds: O(groups) a decision; a group
that can be in time is passed by another only if both then are. Over all orders of small instances, which no program
can beat, the best meets under five points more (the effect Q1 measures it), so there is no linear program here. When
not to use it: for one model, where it is earliest deadline first and the queue's own order has tenants too.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """Requests alike in model, tier and length; `work_ms` is how long an instance that has the model takes for all."""

    name: str
    model: str
    deadline_ms: float
    work_ms: float
    requests: int = 1


@dataclass(frozen=True, slots=True)
class Instance:
    """Where groups are computed: the model that is loaded, and what loading another one takes."""

    model: str
    swap_ms: float

    def takes_ms(self, group: RequestGroup) -> float:
        """Return how long the group takes from now, a change of the model included."""
        return group.work_ms + (self.swap_ms if group.model != self.model else 0.0)


def next_group(groups: Sequence[RequestGroup], instance: Instance, now_ms: float) -> RequestGroup:
    """Return the group to compute next; there is at least one."""
    in_time = [group for group in groups if now_ms + instance.takes_ms(group) <= group.deadline_ms]
    urgent = min(in_time or groups, key=_by_deadline)
    if urgent.model == instance.model:
        return urgent
    loaded = [group for group in in_time or groups if group.model == instance.model]
    if not loaded:
        return urgent
    stay = min(loaded, key=_by_deadline)
    both_ms = instance.takes_ms(stay) + instance.takes_ms(urgent)
    return stay if not in_time or now_ms + both_ms <= urgent.deadline_ms else urgent


def group_order(groups: Sequence[RequestGroup], instance: Instance, now_ms: float) -> tuple[RequestGroup, ...]:
    """Return the order in which one instance would compute them if nothing else came."""
    left, order = list(groups), []
    while left:
        group = next_group(left, instance, now_ms)
        now_ms += instance.takes_ms(group)
        instance = Instance(group.model, instance.swap_ms)
        left.remove(group)
        order.append(group)
    return tuple(order)


def empty_order(groups: Sequence[RequestGroup], now_ms: float) -> tuple[RequestGroup, ...]:
    """Return the order in which groups get instances that have no model; each group's work includes its loading.

    It is `next_group` again and again, for all that are free now: without a model there is none to stay with.
    """
    return tuple(sorted(groups, key=lambda group: (now_ms + group.work_ms > group.deadline_ms, *_by_deadline(group))))


def _by_deadline(group: RequestGroup) -> tuple[float, str]:
    return (group.deadline_ms, group.name)
