"""The shipped scheduling core on virtual time: arrivals in, the moment of every token out."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.batching.features import batch_features
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.memory.transfers import StorageTier
from tierline.scheduling.plans import BatchPlan, EngineRequest, IterationResult
from tierline.sim.clock import VirtualClock
from tierline.sim.noise import EXACT, Noise
from tierline.sim.tiers import PageTimes, SimulatedTiers


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request and when it comes."""

    at_ms: float
    request: EngineRequest


class SimulatedEngine:
    """One engine whose device takes as long as `truth` says; every request runs to its full length.

    A request that finds no slot waits in arrival order. `token_ms` holds for each request when its tokens were made.
    `accepts` says of a request and a position whether a draft of it would be right there. `host_ms` pass between two
    iterations, in which the device does nothing and which the latency model does not see.
    """

    def __init__(
        self,
        core: SchedulerCore,
        truth: Coefficients,
        accepts: Callable[[str, int], bool] = lambda _request_id, _position: False,
        *,
        tiers: Mapping[StorageTier, PageTimes] | None = None,
        noise: Noise = EXACT,
        host_ms: float = 0.0,
    ) -> None:
        self._tiers = SimulatedTiers(tiers or {})
        self._core = core
        self._truth = truth
        self._accepts = accepts
        self._noise = noise
        self._host_ms = host_ms
        self._clock = VirtualClock()
        self.token_ms: dict[str, list[float]] = {}

    def replay(self, arrivals: Iterable[Arrival]) -> float:
        """Run until every arrival has finished; returns the moment of the last token in milliseconds."""
        coming = deque(sorted(arrivals, key=lambda arrival: arrival.at_ms))
        while coming or not self._core.empty:
            self._take_in(coming)
            for result in self._tiers.ended(self._clock.now_ms):
                self._core.transferred(result)
            plan = self._core.plan(self._clock.now_ms)
            if plan is None:
                arrival_ms = coming[0].at_ms if coming and self._core.headroom.free_requests else float("inf")
                self._clock.advance_to(min(arrival_ms, self._tiers.next_end_ms))
            else:
                self._run(plan)
        return self._clock.now_ms

    def _take_in(self, coming: deque[Arrival]) -> None:
        while coming and coming[0].at_ms <= self._clock.now_ms and self._core.headroom.free_requests:
            request = coming.popleft().request
            refused = self._core.submit(request)
            assert refused is None, f"{request.request_id} can not run here: {refused}"
            self.token_ms[request.request_id] = []

    def _run(self, plan: BatchPlan) -> None:
        names = [self._core.slots.request(slot).request_id for slot in plan.slots.tolist()]
        elapsed_ms = self._truth.predict_ms(batch_features(plan)) * self._noise.factor() if names else 0.0
        self._clock.advance(self._host_ms + elapsed_ms + self._tiers.begin(plan, self._clock.now_ms))
        stopped, sampled = np.zeros(len(names), np.bool_), self._sampled(plan, names)
        result = IterationResult(plan.iteration, stopped, elapsed_ms, sampled, plan.drafts)
        for row in self._core.commit(result).delivered:
            self.token_ms[names[row]] += [self._clock.now_ms] * int(sampled[row])

    def _sampled(self, plan: BatchPlan, names: list[str]) -> NDArray[np.int32]:
        """Return how many tokens each row gives: drafts as long as they are right, and one more."""
        sampled = np.ones(len(names), np.int32)
        for row in np.flatnonzero(plan.drafts).tolist():
            certain = int(plan.starts[row] + plan.counts[row] - plan.drafts[row])
            while sampled[row] <= plan.drafts[row] and self._accepts(names[row], certain + int(sampled[row]) - 1):
                sampled[row] += 1
        return sampled
