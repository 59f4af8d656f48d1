"""Fleets at zero that share too few accelerators: by whose turn it is more bursts are answered in time."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from sharing_claims import SHARES, claim

from tierline.fleet.scaling.claims import Claim, Waiting
from tierline.fleet.scaling.sharing import SharingMemory, plan_sharing

FLEETS, ACCELERATORS, HOURS = 8, 2, 2
LOOK_MS, IDLE_MS, BETWEEN_MS = 5_000, 10_000, 300_000
PER_SECOND = 1.0


@dataclass
class Burst:
    """So many requests that are all due at one time."""

    requests: float
    due_ms: float


@dataclass
class Fleet:
    """A fleet that wants one worker while anything waits; its worker starts, serves, and ends when it is idle."""

    name: str
    start_ms: float
    bursts: deque[Burst] = field(default_factory=deque)
    asked_ms: float | None = None
    ready_ms: float | None = None
    served_ms: float = 0.0
    met: float = 0.0
    lost: float = 0.0

    @property
    def held(self) -> int:
        return self.ready_ms is not None

    def claim(self, by_turns: bool) -> Claim:
        waiting = tuple(Waiting(50, it.due_ms) for it in self.bursts) if by_turns else ()
        wanted = int(self.held or bool(self.bursts))
        shown = {"low": 0, "wanted": wanted, "held": self.held, "start_ms": self.start_ms}
        return claim(self.name, queue=waiting, **shown)

    def serve(self, now_ms: float) -> None:
        """Let a look's time pass: what is late is refused."""
        while self.bursts and self.bursts[0].due_ms < now_ms:
            self.lost += self.bursts.popleft().requests
        if self.ready_ms is None or now_ms < self.ready_ms:
            return
        capacity = PER_SECOND * LOOK_MS / 1e3
        while capacity > 0 and self.bursts:
            burst = self.bursts[0]
            done = min(capacity, burst.requests)
            self.met += done
            burst.requests -= done
            capacity -= done
            self.served_ms = now_ms
            if burst.requests <= 0:
                self.bursts.popleft()
        if not self.bursts and now_ms - max(self.served_ms, self.ready_ms) >= IDLE_MS:
            self.ready_ms = None


def attainment(policy: str, seed: int) -> float:
    """Return the share of requests in time; who is allowed to ask gets what is free in the order of asking."""
    rng = np.random.default_rng(seed)
    fleets = [Fleet(f"f{number}", float(rng.uniform(10_000, 60_000))) for number in range(FLEETS)]
    memory = SharingMemory()
    for now_ms in range(0, HOURS * 3_600_000, LOOK_MS):
        for fleet in fleets:
            if rng.random() < LOOK_MS / BETWEEN_MS:
                promise_ms = float(rng.choice([90_000, 180_000, 900_000]))
                fleet.bursts.append(Burst(float(rng.integers(10, 60)), now_ms + promise_ms))
            fleet.serve(now_ms)
        claims = [fleet.claim(policy == "turns") for fleet in fleets]
        memory = plan_sharing(memory, claims, {"h100": ACCELERATORS}, SHARES, now_ms=now_ms)
        for fleet, asked in zip(fleets, claims, strict=True):
            wanted = asked.wanted if policy == "first come" else memory.most(asked.key, asked.wanted)
            asks = wanted > fleet.held
            fleet.asked_ms = (now_ms if fleet.asked_ms is None else fleet.asked_ms) if asks else None
        free = ACCELERATORS - sum(fleet.held for fleet in fleets)
        asking = sorted((it.asked_ms, it.name, it) for it in fleets if it.asked_ms is not None)
        for _, _, fleet in asking[:free]:
            fleet.ready_ms, fleet.asked_ms = now_ms + fleet.start_ms, None
    met, lost = sum(fleet.met for fleet in fleets), sum(fleet.lost for fleet in fleets)
    return 100 * met / (met + lost)


def test_turns_answer_more_in_time_than_who_asked_first_or_names(record_effect) -> None:
    met = {it: float(np.mean([attainment(it, seed) for seed in range(4)])) for it in ("first come", "names", "turns")}
    gain = met["turns"] - max(met["first come"], met["names"])
    record_effect("Q2_turns_over_first_come", value=gain, threshold=1.0, unit="points of attainment")
