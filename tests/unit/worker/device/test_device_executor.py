"""The executor for devices gives the tokens of the CPU's, one iteration ahead, whatever the batch asks for."""

import numpy as np
import pytest
from device_testing import cpu_executor, device_executor, engine_around
from device_testing import serve as answers

from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling, Submit
from tierline_worker.device.buckets import bucket_sizes
from tierline_worker.device.executor import needs_host
from tierline_worker.device.rows import tiles_of
from tierline_worker.engine.messages import Submitted
from tierline_worker.slots import SlotLoad

LIMITS = EngineLimits(5, 16, 96, 4, 60)
FLAT = Coefficients(5.0, 0.1, 0.0, 0.0, 0.0)
GREEDY = Sampling(12)
FREE = Sampling(14, temperature=1.0, seed=7)
LIMITED = Sampling(9, temperature=0.8, top_p=0.9, top_k=40, seed=2**63 + 5)


@pytest.mark.parametrize(
    "samplings",
    [[GREEDY] * 4, [GREEDY, FREE, FREE, GREEDY], [LIMITED, GREEDY, FREE, LIMITED]],
    ids=["greedy", "free", "limited"],
)
def test_tokens_are_those_of_the_cpu(tiny_path, samplings) -> None:
    expected = answers(cpu_executor(tiny_path, LIMITS), samplings, LIMITS)
    assert [len(expected[f"r{index}"]) for index in range(4)] == [sampling.max_tokens for sampling in samplings]
    assert answers(device_executor(tiny_path, LIMITS), samplings, LIMITS) == expected


def test_preempted_requests_go_on_as_if_nothing_had_been(tiny_path) -> None:
    tight = EngineLimits(4, 16, 64, 4, 16)
    samplings = [Sampling(30), Sampling(30), Sampling(30)]
    assert answers(device_executor(tiny_path, tight), samplings, tight) == answers(
        cpu_executor(tiny_path, LIMITS), samplings, LIMITS
    )


def test_it_runs_one_iteration_ahead(tiny_path) -> None:
    engine, core = engine_around(device_executor(tiny_path, LIMITS), LIMITS)
    engine.handle(Submitted(1, Submit("a", 1, (5, 6, 7), GREEDY)))
    engine.step()
    assert len(core.in_flight) == 1


def test_what_the_device_cannot_do_alone_is_computed_with_the_host_and_joins_the_others(tiny_path, monkeypatch) -> None:
    """The same tokens, since the general path chooses as the device does; a marker field sends a request there."""
    monkeypatch.setattr("tierline_worker.device.executor.needs_host", lambda load: load.sampling.seed == 99)
    samplings = [GREEDY, Sampling(12, seed=99), FREE, Sampling(5, temperature=1.0, seed=99)]
    expected = answers(cpu_executor(tiny_path, LIMITS), samplings, LIMITS)
    assert answers(device_executor(tiny_path, LIMITS), samplings, LIMITS) == expected


def test_with_the_host_a_token_is_delivered_before_the_next_is_computed(tiny_path, monkeypatch) -> None:
    monkeypatch.setattr("tierline_worker.device.executor.needs_host", lambda _load: True)
    executor = device_executor(tiny_path, LIMITS)
    engine, _ = engine_around(executor, LIMITS)
    computed: list[int] = []
    compute = executor.compute
    monkeypatch.setattr(executor, "compute", lambda plan: (computed.append(plan.iteration), compute(plan))[1])
    engine.handle(Submitted(1, Submit("a", 1, (5, 6, 7), GREEDY)))
    for step in range(1, 5):
        (item,) = engine.step()
        assert len(item.frame.tokens) == 1
        assert computed == list(range(1, step + 1))


def test_numbers_that_are_not_finite_fail_their_request_alone(tiny_path) -> None:
    executor = device_executor(tiny_path, LIMITS)
    engine, _ = engine_around(executor, LIMITS)
    executor._steps.model.embedding[300] = float("nan")
    engine.handle(Submitted(1, Submit("bad", 1, (5, 300, 7), GREEDY)))
    engine.handle(Submitted(1, Submit("good", 1, (5, 6, 7), GREEDY)))
    reasons: dict[str, str] = {}
    while engine.busy:
        for item in engine.step():
            reasons |= {batch.request_id: batch.finish_reason for batch in item.frame.tokens if batch.finish_reason}
    assert reasons == {"bad": "failed", "good": "length"}


@pytest.mark.parametrize(
    ("sampling", "host"),
    [
        (Sampling(5, temperature=1.0, top_k=3, top_p=0.5, seed=4, stop_token_ids=(1,), ignore_eos=True), False),
        (Sampling(5, min_p=0.1), False),
        (Sampling(5, presence_penalty=0.5), True),
        (Sampling(5, logprobs=0), True),
    ],
)
def test_only_usual_sampling_is_left_to_the_device(sampling, host) -> None:
    assert needs_host(SlotLoad(0, [1], sampling)) is host


def test_adapters_need_no_host() -> None:
    assert not needs_host(SlotLoad(0, [1], GREEDY, adapter="a"))


def test_buckets_hold_every_batch_with_little_padding() -> None:
    assert bucket_sizes(5) == [1, 2, 4, 8]
    assert bucket_sizes(100) == [1, 2, 4, 8, 16, 32, 48, 64, 96, 128]
    assert bucket_sizes(1) == [1]


def test_tiles_cut_each_row_by_itself() -> None:
    assert tiles_of(np.array([5, 1, 4]), 2).tolist() == [[0, 0], [0, 2], [0, 4], [1, 0], [2, 0], [2, 2]]
    assert tiles_of(np.array([], np.int64), 2).shape == (0, 2)
