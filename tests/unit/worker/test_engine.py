"""The engine, step by step, with the real scheduling core and an executor that computes nothing."""

from collections.abc import Iterator

import numpy as np
import pytest

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel, Roofline
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.wire.frames import (
    Cancel,
    Draining,
    Iteration,
    Nack,
    NackReason,
    Refusal,
    Sampling,
    Submit,
    TokenLogprobs,
    Welcome,
)
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import Cancelled, DrainRequested, GatewayJoined, GatewayLeft, Outgoing, Submitted
from tierline_worker.executor import LockStep, Sampled
from tierline_worker.metrics import LoadSample, WorkerMetrics
from tierline_worker.slots import SlotLoad

STOP = 77
LIMITS = EngineLimits(4, 64, 128, 4, 40)


class ScriptedExecutor(LockStep):
    """Samples the position as token. A prompt that begins with 66 fails, with 55 runs out of memory in company; 44
    samples `STOP` at once; 33 and 55 get log probabilities; `broken` makes every call fail."""

    def __init__(self) -> None:
        self.prompts: dict[int, list[int]] = {}
        self.cleared: list[int] = []
        self.broken = False

    def apply(self, plan: BatchPlan, loads: list[SlotLoad]) -> dict[int, Exception]:
        for load in loads:
            self.prompts[load.slot] = load.token_ids
        return {}

    def clear(self, blocks: np.ndarray) -> None:
        self.cleared += blocks.tolist()

    def compute(self, plan: BatchPlan) -> Sampled:
        firsts = [self.prompts[slot][0] for slot in plan.slots.tolist()]
        if self.broken:
            raise SystemError("the device is lost")
        if 66 in firsts:
            raise ValueError("a bad request")
        if 55 in firsts and len(firsts) > 1:
            raise MemoryError("too much at once")
        stopped = np.array([first == 44 for first in firsts]) & plan.samples
        tokens = np.where(plan.samples, np.where(stopped, STOP, plan.starts + plan.counts), -1)
        told = {row: (TokenLogprobs(-float(tokens[row])),) for row, first in enumerate(firsts) if first in {33, 55}}
        return Sampled(tokens, stopped, told)


class Harness:
    def __init__(self, limits: EngineLimits = LIMITS) -> None:
        self.now_s = 100.0
        self.executor = ScriptedExecutor()
        self.metrics = WorkerMetrics("m")
        self.progress = Progress(30.0)
        latency = LatencyModel(Roofline(1e6, 1e6, 1.0, 1, 1, 1e12, 1e12).coefficients())
        self.engine = Engine(
            identity=Identity("w", "m", 100),
            new_core=lambda: SchedulerCore(limits, latency),
            executor=self.executor,
            metrics=self.metrics,
            progress=self.progress,
            clock=self._clock,
        )

    def _clock(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def join(self, gateway: int = 1) -> list:
        return [item.frame for item in self.engine.handle(GatewayJoined(gateway))]

    def submit(self, request_id: str, prompt: tuple[int, ...] = (1, 2, 3), max_tokens: int = 5, **fields) -> list:
        gateway = fields.pop("gateway", 1)
        frame = Submit(request_id, fields.pop("epoch", 1), prompt, Sampling(max_tokens), **fields)
        return [item.frame for item in self.engine.handle(Submitted(gateway, frame))]

    def steps(self, limit: int = 200) -> Iterator[list[Outgoing]]:
        while self.engine.busy:
            limit -= 1
            assert limit, "the engine does not finish"
            yield self.engine.step()

    def run(self) -> dict[tuple[int, str], list]:
        """Run to the end; returns the token batches by gateway and request."""
        batches: dict[tuple[int, str], list] = {}
        for outgoing in self.steps():
            for item in outgoing:
                for batch in item.frame.tokens:
                    batches.setdefault((item.gateway, batch.request_id), []).append(batch)
        return batches

    def metric(self, name: str) -> float:
        text = self.metrics.render(LoadSample(self.engine.snapshot)).decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def harness() -> Harness:
    made = Harness()
    made.join()
    return made


def test_welcome_tells_sizes_and_credit():
    welcome, first = Harness().join()
    assert isinstance(welcome, Welcome)
    assert (welcome.model, welcome.total_blocks, welcome.max_model_tokens) == ("m", 40, 128)
    assert (welcome.credits.requests_total, welcome.credits.blocks_total) == (2, 40)
    assert first == Iteration(0, first.signals, welcome.credits)


def test_tokens_come_in_order_and_the_last_one_says_why(harness):
    harness.submit("a", max_tokens=4)
    batches = harness.run()[1, "a"]
    assert [batch.first_position for batch in batches] == [0, 1, 2, 3]
    assert [batch.token_ids for batch in batches] == [(3,), (4,), (5,), (6,)]
    assert [batch.finish_reason for batch in batches] == ["", "", "", "length"]
    assert {batch.epoch for batch in batches} == {1}


def test_a_stop_token_is_delivered_and_ends(harness):
    harness.submit("a", prompt=(44, 1))
    (batch,) = harness.run()[1, "a"]
    assert (batch.token_ids, batch.finish_reason) == ((STOP,), "stop")


def test_a_replayed_request_continues_at_its_position(harness):
    harness.submit("a", max_tokens=5, emitted_ids=(9, 9, 9), epoch=4)
    batches = harness.run()[1, "a"]
    assert [(batch.first_position, batch.epoch) for batch in batches] == [(3, 4), (4, 4)]
    assert harness.metric("tierline_worker_recomputed_tokens_total") == 3
    assert harness.metric("vllm:prompt_tokens_total") == 0


def test_a_replay_with_nothing_left_ends_at_once(harness):
    (frame,) = harness.submit("a", max_tokens=2, emitted_ids=(9, 9))
    assert frame.tokens[0].finish_reason == "length"
    assert not harness.engine.busy


@pytest.mark.parametrize(
    ("prompt", "fields", "words"),
    [
        ((), {}, "prompt_ids is empty"),
        ((1, 100), {}, "outside 0 to 99"),
        ((1, -1), {}, "outside 0 to 99"),
        ((1,), {"emitted_ids": (500,)}, "outside 0 to 99"),
    ],
)
def test_impossible_submits_fail_by_name(harness, prompt, fields, words):
    (frame,) = harness.submit("a", prompt=prompt, **fields)
    assert frame.tokens[0].finish_reason == "failed"
    assert words in frame.tokens[0].error
    assert not harness.engine.busy


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        (Sampling(2, temperature=-1.0), "sampling.temperature"),
        (Sampling(2, temperature=float("nan")), "sampling.temperature"),
        (Sampling(2, top_p=0.0), "sampling.top_p"),
        (Sampling(2, top_k=-1), "sampling.top_k"),
        (Sampling(2, top_k=2**63), "sampling.top_k"),
        (Sampling(2, min_p=1.5), "sampling.min_p"),
        (Sampling(2, repetition_penalty=0.0), "sampling.repetition_penalty"),
        (Sampling(2, presence_penalty=float("inf")), "sampling.presence_penalty"),
        (Sampling(2, frequency_penalty=float("nan")), "sampling.frequency_penalty"),
        (Sampling(2, logit_bias=((100, 1.0),)), "sampling.logit_bias"),
        (Sampling(2, logit_bias=((1, float("nan")),)), "sampling.logit_bias"),
        (Sampling(2, logprobs=21), "sampling.logprobs"),
    ],
)
def test_impossible_sampling_fails_by_name(harness, sampling, words):
    answer = harness.engine.handle(Submitted(1, Submit("a", 1, (1,), sampling)))
    assert words in answer[0].frame.tokens[0].error


def test_too_long_and_duplicate_and_no_slot_are_nacked(harness):
    assert harness.submit("long", max_tokens=126) == [Nack("long", 1, NackReason.TOO_LONG)]
    assert harness.submit("a") == []
    assert harness.submit("a") == [Nack("a", 1, NackReason.DUPLICATE)]
    for name in "bcd":
        assert harness.submit(name) == []
    assert harness.submit("e") == [Nack("e", 1, NackReason.NO_SLOT)]
    assert harness.metric("tierline_worker_requests_refused_total") == 3


def test_no_blocks_is_nacked(harness):
    assert harness.submit("a", prompt=(1,) * 100, max_tokens=2) == []
    harness.engine.step()
    assert harness.submit("b", prompt=(1,) * 100, max_tokens=2) == [Nack("b", 1, NackReason.NO_BLOCKS)]


def test_a_higher_priority_is_taken_although_lower_ones_hold_all_blocks(harness):
    assert harness.submit("guaranteed", prompt=(1,) * 40, max_tokens=20, preemptible=False) == []
    assert harness.submit("low", prompt=(1,) * 100, max_tokens=20) == []
    for _ in range(4):
        harness.engine.step()
    assert harness.submit("same", prompt=(1,) * 60, max_tokens=2) == [Nack("same", 1, NackReason.NO_BLOCKS)]
    rooms = {priority: blocks for priority, _, blocks in harness.engine.snapshot.signals.rooms}
    assert rooms[0] >= 16
    assert harness.submit("vip", prompt=(1,) * 60, max_tokens=2, priority=5) == []
    assert {"low", "guaranteed", "vip"} == {name for _, name in harness.run()}


def test_a_newer_epoch_replaces_the_older(harness):
    harness.submit("a", max_tokens=9)
    harness.engine.step()
    assert harness.submit("a", max_tokens=2, epoch=2) == []
    assert {batch.epoch for batch in harness.run()[1, "a"]} == {2}


def test_cancel_frees_blocks_at_once_and_stale_cancels_do_nothing(harness):
    harness.submit("a", max_tokens=50, epoch=3)
    harness.engine.step()
    harness.engine.handle(Cancelled(1, Cancel("a", 2)))
    assert harness.engine.busy
    harness.engine.handle(Cancelled(1, Cancel("a", 3)))
    (out,) = harness.engine.publish({})
    assert out.frame.signals.used_blocks == 0
    assert out.frame.credits.requests_total == 3
    assert not harness.engine.busy


def test_a_lost_gateway_takes_only_its_own_requests(harness):
    harness.join(2)
    harness.submit("same-id", gateway=1)
    harness.submit("same-id", gateway=2)
    harness.engine.step()
    harness.engine.handle(GatewayLeft(1))
    assert set(harness.run()) == {(2, "same-id")}


def test_two_gateways_share_the_credit(harness):
    welcome, _ = harness.join(2)
    assert (welcome.credits.requests_total, welcome.credits.blocks_total) == (1, 32)
    harness.engine.handle(GatewayLeft(2))
    harness.submit("a", max_tokens=1)
    *_, last = harness.steps()
    assert last[0].frame.credits.requests_total == 3


def test_the_last_free_slot_is_offered_to_every_gateway():
    harness = Harness(EngineLimits(1, 64, 128, 4, 40))
    totals = [harness.join(gateway)[0].credits for gateway in (1, 2, 3)]
    assert [(total.requests_total, total.blocks_total) for total in totals] == [(1, 40), (1, 32), (1, 32)]


def test_nacked_submits_are_charged_so_both_ledgers_agree(harness):
    harness.submit("long", prompt=(1,) * 20, max_tokens=126)
    (out,) = harness.engine.publish({})
    assert out.frame.credits.requests_total == 3
    assert out.frame.credits.blocks_total == 40 + 6


def test_a_bad_request_fails_alone(harness):
    harness.submit("bad", prompt=(66, 1))
    harness.submit("good", max_tokens=3)
    batches = harness.run()
    (failed,) = batches[1, "bad"]
    assert failed.finish_reason == "failed"
    assert "ValueError: a bad request" in failed.error
    assert [batch.token_ids for batch in batches[1, "good"]] == [(3,), (4,), (5,)]
    assert harness.metric("tierline_worker_requests_failed_total") == 1


def test_a_batch_too_large_for_the_memory_gets_through_in_parts(harness):
    harness.submit("large", prompt=(55, 1), max_tokens=3)
    harness.submit("good", max_tokens=3)
    batches = harness.run()
    assert [len(batches[1, name]) for name in ("large", "good")] == [3, 3]
    assert [batch.logprobs[0].logprob for batch in batches[1, "large"]] == [-2, -3, -4]


def test_log_probabilities_travel_with_their_tokens(harness):
    harness.submit("plain", max_tokens=2)
    harness.submit("told", prompt=(33, 1), max_tokens=2)
    batches = harness.run()
    assert [batch.logprobs for batch in batches[1, "plain"]] == [(), ()]
    assert [batch.logprobs for batch in batches[1, "told"]] == [(TokenLogprobs(-2.0),), (TokenLogprobs(-3.0),)]


def test_a_lost_device_fails_requests_and_the_engine_recovers(harness):
    harness.executor.broken = True
    harness.submit("a")
    (failed,) = harness.run()[1, "a"]
    assert "the device is lost" in failed.error
    harness.executor.broken = False
    harness.submit("b", max_tokens=1)
    assert harness.run()[1, "b"][0].finish_reason == "length"


def test_an_error_inside_the_core_fails_requests_and_the_engine_begins_anew(harness, monkeypatch):
    harness.submit("a")
    with monkeypatch.context() as patch:
        patch.setattr(SchedulerCore, "plan", lambda *_: 1 / 0)
        (out,) = harness.engine.step()
    assert "ZeroDivisionError" in out.frame.tokens[0].error
    harness.submit("b", max_tokens=1)
    assert harness.run()[1, "b"][0].finish_reason == "length"


def test_draining_refuses_the_new_and_finishes_the_old(harness):
    harness.submit("a", max_tokens=3)
    (told,) = harness.engine.handle(DrainRequested(5000, "bye"))
    assert told.frame == Draining(5000, "bye")
    assert harness.submit("b") == [Nack("b", 1, NackReason.DRAINING)]
    assert isinstance(harness.join(2)[0], Refusal)
    assert not harness.engine.drained
    assert len(harness.run()[1, "a"]) == 3
    assert harness.engine.drained


def test_failing_without_end_counts_as_stalled(harness):
    harness.executor.broken = True
    for number in range(12):
        harness.submit(f"r{number}")
        harness.run()
    assert not harness.progress.stalled(harness.now_s)
    assert harness.progress.stalled(harness.now_s + 31)
    harness.executor.broken = False
    harness.submit("fine", max_tokens=1)
    harness.run()
    assert not harness.progress.stalled(harness.now_s + 1000)


def test_work_without_result_counts_as_stalled_and_idling_does_not():
    progress = Progress(limit_s=30)
    progress.working(10)
    assert not progress.stalled(39)
    assert progress.stalled(41)
    progress.finished(41)
    assert not progress.stalled(70)
    progress.idle()
    assert not progress.stalled(10_000)


def test_many_requests_under_memory_pressure_all_finish_in_order():
    harness = Harness(EngineLimits(4, 16, 64, 4, 18))
    harness.join()
    for name in "abcd":
        harness.submit(name, max_tokens=40)
    for batches in harness.run().values():
        assert [batch.first_position for batch in batches] == list(range(40))
        assert [batch.token_ids[0] for batch in batches] == list(range(3, 43))
