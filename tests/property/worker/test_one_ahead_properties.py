"""Planning ahead of the device changes nothing but time: whatever comes, stops, fails and goes, in whatever order.

The device notices KV and tokens that are not a request's own, and its next token is a function of the whole context.
So each request must get what it would have got alone, however many iterations are in flight.
"""

from dataclasses import dataclass

import numpy as np
from ahead_device import TRUTH, AheadDevice, Behaviour
from hypothesis import given
from hypothesis import strategies as st

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.plans import EngineLimits
from tierline.sim.executor import next_token
from tierline.wire.frames import Cancel, Nack, Sampling, Submit, TokenBatch
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import Cancelled, DrainRequested, GatewayJoined, Outgoing, Submitted
from tierline_worker.metrics import WorkerMetrics

STEPS_TO_EMPTY = 3000
METRICS = WorkerMetrics("m")


@dataclass(frozen=True)
class Life:
    """A request: when it comes, how long it is, where it fails (tokens from its prompt on) and when it is cancelled."""

    at: int
    prompt_tokens: int
    new_tokens: int
    priority: int
    fails_after: int | None
    cancelled_after: int | None


LIVES = st.lists(
    st.builds(
        Life,
        at=st.integers(0, 12),
        prompt_tokens=st.integers(1, 12),
        new_tokens=st.integers(1, 14),
        priority=st.integers(0, 1),
        fails_after=st.one_of(st.none(), st.none(), st.integers(0, 8)),
        cancelled_after=st.one_of(st.none(), st.none(), st.integers(0, 6)),
    ),
    min_size=1,
    max_size=6,
)
SIZES = st.builds(
    lambda slots, budget, blocks, block_tokens: EngineLimits(slots, slots + budget, 32, block_tokens, blocks),
    slots=st.integers(1, 4),
    budget=st.integers(0, 12),
    blocks=st.integers(6, 16),
    block_tokens=st.integers(2, 4),
)


def prompt_of(index: int, life: Life) -> tuple[int, ...]:
    return tuple((index * 131 + place * 7 + 1) % 997 for place in range(life.prompt_tokens))


def alone(index: int, life: Life) -> list[int]:
    known = list(prompt_of(index, life))
    for _ in range(life.new_tokens):
        known.append(next_token(np.array(known, np.int64)))
    return known[life.prompt_tokens :]


class Run:
    """One engine through all lives; `got` are the token batches by request."""

    def __init__(self, limits: EngineLimits, lives: list[Life], device: AheadDevice) -> None:
        self.lives = lives
        self.device = device
        self.got: dict[str, list[TokenBatch]] = {}
        self.refused: set[str] = set()
        self.core = CheckedSchedulerCore(limits, LatencyModel(TRUTH))
        self.now_s = 0.0
        self.engine = Engine(
            identity=Identity("w", "m", 1000),
            new_core=lambda: self.core,
            executor=device,
            metrics=METRICS,
            progress=Progress(30.0),
            clock=self.clock,
        )
        self.engine.handle(GatewayJoined(1))

    def clock(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def play(self) -> None:
        last = max(life.at + (life.cancelled_after or 0) for life in self.lives)
        for step in range(last + 1):
            self.messages(step)
            if self.engine.busy:
                self.take(self.engine.step())
        self.engine.handle(DrainRequested(1000, "the end"))
        for _ in range(STEPS_TO_EMPTY):
            if not self.engine.busy:
                return
            self.take(self.engine.step())
        raise AssertionError("the engine does not finish")

    def messages(self, step: int) -> None:
        for index, life in enumerate(self.lives):
            if life.at == step:
                submit = Submit(
                    f"r{index}", 1, prompt_of(index, life), Sampling(life.new_tokens), priority=life.priority
                )
                self.take(self.engine.handle(Submitted(1, submit)))
            if life.cancelled_after is not None and life.at + life.cancelled_after == step:
                self.engine.handle(Cancelled(1, Cancel(f"r{index}", 1)))

    def take(self, outgoing: list[Outgoing]) -> None:
        for item in outgoing:
            if isinstance(item.frame, Nack):
                self.refused.add(item.frame.request_id)
                continue
            for batch in item.frame.tokens:
                self.got.setdefault(batch.request_id, []).append(batch)

    def check(self) -> None:
        assert self.engine.drained
        assert self.core.empty
        assert self.core.memory.free == self.core.memory.total
        for index, life in enumerate(self.lives):
            if f"r{index}" not in self.refused:
                self.check_one(life, self.got.get(f"r{index}", []), alone(index, life))

    def check_one(self, life: Life, batches: list[TokenBatch], expected: list[int]) -> None:
        tokens = [token for batch in batches for token in batch.token_ids]
        reasons = [batch.finish_reason for batch in batches if batch.finish_reason]
        assert tokens == expected[: len(tokens)]
        assert [batch.first_position for batch in batches] == list(range(len(batches)))
        if life.fails_after is not None and life.fails_after < life.new_tokens:
            assert len(tokens) <= life.fails_after
            assert reasons == ["failed"] or (life.cancelled_after is not None and not reasons)
        elif life.cancelled_after is None:
            assert tokens == expected
            assert reasons == ["length"]
        else:
            assert reasons == (["length"] if len(tokens) == len(expected) else [])


@given(lives=LIVES, limits=SIZES, ahead=st.booleans(), eager=st.integers(0, 255), hold=st.integers(0, 255))
def test_every_request_gets_what_it_would_have_got_alone(lives, limits, ahead, eager, hold) -> None:
    faults = {
        prompt_of(index, life): life.prompt_tokens + life.fails_after
        for index, life in enumerate(lives)
        if life.fails_after is not None and life.fails_after < life.new_tokens
    }
    behaviour = Behaviour(lambda number: bool(eager >> number % 8 & 1), lambda number: bool(hold >> number % 8 & 1))
    behaviour.faults = faults
    run = Run(limits, lives, AheadDevice(limits, 1 + ahead, behaviour))
    run.play()
    run.check()
    assert run.device.longest_queue <= 1 + ahead
