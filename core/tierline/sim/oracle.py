"""What a schedule could have reached that knows every answer's length and, in hindsight, who will be late.

    start:  each candidate order, with the lengths of all answers known
    repeat: refuse at once whoever was late in the last run, so that others are served in its stead
    answer: the run in which most requests met their tier

Candidates are the shipped order with the shipped admission, and the orders by tier and by deadline in which nobody is
refused but in hindsight. Every run is a schedule of the shipped engine on the same device, so what the oracle reaches
can be reached; it is at least as good as the shipped policy would be if it knew the lengths. It is a strong reference
and no proven optimum: finding that is NP-hard (SLOs-Serve, arXiv 2504.08784, and PolyServe, arXiv 2507.17769, compare
with such references too).

`work_bound` is a proven one for the requests per second that a device can serve at all: in a second of iterations none
of which may take longer than `longest_ms`, a share a/longest_ms goes to the iterations themselves, and the rest to the
work that each request takes in any schedule.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from tierline.scheduling.latency import Coefficients
from tierline.sim.fleet import FleetSimulation
from tierline.sim.ladder import Order, Policy
from tierline.sim.setup import FleetRun, FleetSetup
from tierline.sim.workload import PlannedRequest

ROUNDS: Final = 2
"""So often a run is repeated without those that were late in it; more change little."""

CANDIDATES: Final = (
    Policy("oracle", Order.TIER, refuses=True, paced=True, clairvoyant=True),
    Policy("oracle", Order.TIER, refuses=False, paced=True, clairvoyant=True),
    Policy("oracle", Order.DEADLINE, refuses=False, paced=True, clairvoyant=True),
)


def best_in_hindsight(
    setup: FleetSetup, workload: Sequence[PlannedRequest], late: Callable[[FleetRun], Collection[int]]
) -> FleetRun:
    """Return the run with the fewest requests that `late` names, by their numbers in `workload`."""
    known = tuple(replace(request, max_tokens=None) for request in workload)
    runs = [run for policy in CANDIDATES for run in _refined(setup, policy, known, late)]
    return min(runs, key=lambda run: len(late(run)))


def work_ms(truth: Coefficients, prompt_tokens: int, output_tokens: int) -> float:
    """Return the device's time that a request takes in any schedule, iterations themselves not counted."""
    kv_tokens = output_tokens * (prompt_tokens + output_tokens / 2)
    return truth.chunk_ms(prompt_tokens, 0) + truth.decode_ms * output_tokens + truth.kv_token_ms * kv_tokens


def work_bound_per_second(truth: Coefficients, workload: Sequence[PlannedRequest], longest_ms: float) -> float:
    """Return how many such requests a second no schedule of one worker can exceed for long."""
    total_ms = sum(work_ms(truth, request.prompt_tokens, request.output_tokens) for request in workload)
    return 1000 * (1 - truth.iteration_ms / longest_ms) * len(workload) / total_ms


def _refined(
    setup: FleetSetup,
    policy: Policy,
    workload: Sequence[PlannedRequest],
    late: Callable[[FleetRun], Collection[int]],
) -> list[FleetRun]:
    refused: frozenset[int] = frozenset()
    runs: list[FleetRun] = []
    for _ in range(1 + ROUNDS):
        runs.append(FleetSimulation(setup, policy, workload, refused).run())
        still_late = frozenset(late(runs[-1])) - refused
        if not still_late:
            break
        refused |= still_late
    return runs
