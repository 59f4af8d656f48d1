"""A memory that does not hold an iteration: it is computed in parts, later ones are smaller, and only what does not fit
even alone is refused, by name."""

import time

import pytest
import torch
from tiny_engine import TinyEngine

from tierline.scheduling.batching.shedding import CALM_ITERATIONS
from tierline.scheduling.plans import BatchPlan
from tierline_worker.assembly import Loaded, load, warm_up
from tierline_worker.engine.isolation import is_out_of_memory
from tierline_worker.errors import SettingsError
from tierline_worker.executor import Executor, Sampled
from tierline_worker.settings import WorkerSettings
from tierline_worker.slots import SlotLoad, SlotTable

PROMPT = tuple(range(1, 41))
SHORT = (1, 2, 3)
CPU_ALLOCATION = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"


class SmallMemory:
    """Lets an executor compute at most `tokens` at once, and at most `context_tokens` of context in a row."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens = self.context_tokens = 10_000
        self.error: type[Exception] = torch.OutOfMemoryError
        self.words = "out of memory"
        self.refused: list[int] = []
        compute = Executor.compute

        def computing(executor: Executor, plan: BatchPlan) -> Sampled:
            if plan.tokens > self.tokens or int((plan.starts + plan.counts).max()) > self.context_tokens:
                self.refused.append(plan.tokens)
                raise self.error(self.words)
            return compute(executor, plan)

        monkeypatch.setattr(Executor, "compute", computing)


@pytest.fixture
def memory(monkeypatch) -> SmallMemory:
    return SmallMemory(monkeypatch)


def answers(engine: TinyEngine) -> dict[str, list[int]]:
    return {name: [id_ for batch in batches for id_ in batch.token_ids] for name, batches in engine.run().items()}


def submitted(tiny_path) -> TinyEngine:
    engine = TinyEngine(tiny_path)
    engine.submit("long", PROMPT, 6)
    for number in range(3):
        engine.submit(f"short{number}", (*SHORT, number), 6)
    return engine


@pytest.mark.parametrize(
    ("error", "words"),
    [(torch.OutOfMemoryError, "CUDA out of memory"), (MemoryError, ""), (RuntimeError, CPU_ALLOCATION)],
)
def test_what_does_not_fit_at_once_gives_the_same_answers_in_parts(tiny_path, memory, error, words):
    expected = answers(submitted(tiny_path))
    engine = submitted(tiny_path)
    memory.tokens, memory.error, memory.words = 20, error, words
    assert answers(engine) == expected
    assert memory.refused
    text = engine.scrape()
    assert 'out_of_memory_requests_total{engine="0",model_name="tiny"} 0.0' in text


def test_later_iterations_are_smaller_until_it_stays_calm(tiny_path, memory):
    engine = submitted(tiny_path)
    memory.tokens = 20
    engine.engine.step()
    assert memory.refused[0] == 52
    first = len(memory.refused)
    assert engine.engine.snapshot.token_limit == 26
    engine.run()
    engine.submit("again", PROMPT[::-1], 2)
    engine.run()
    assert engine.engine.snapshot.token_limit == 13
    assert len(memory.refused) == first + 1
    memory.tokens = 10_000
    engine.submit("calm", SHORT, 2 * CALM_ITERATIONS - 20)
    engine.run()
    assert engine.engine.snapshot.token_limit > 13


def test_only_the_request_that_does_not_fit_alone_is_refused_and_told_why(tiny_path, memory, caplog):
    expected = answers(submitted(tiny_path))
    engine = submitted(tiny_path)
    memory.context_tokens = 30
    got = engine.run()
    (refused,) = got.pop("long")
    assert refused.finish_reason == "failed"
    assert "out of memory: a step at " in refused.error
    assert "send a shorter prompt" in refused.error
    for name, batches in got.items():
        assert [id_ for batch in batches for id_ in batch.token_ids] == expected[name]
    text = engine.scrape()
    assert 'tierline_worker_out_of_memory_requests_total{engine="0",model_name="tiny"} 1.0' in text
    assert "too much for the memory" in caplog.text
    assert not engine.engine.busy


def test_computing_in_parts_is_progress(tiny_path, memory):
    engine = submitted(tiny_path)
    memory.tokens = 20
    engine.engine.step()
    assert not engine.progress.stalled(time.monotonic())


def test_other_errors_are_no_shortage_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_request_that_cannot_be_taken_over_fails_alone(tiny_path, monkeypatch):
    expected = answers(submitted(tiny_path))
    load_slot = SlotTable.load

    def refusing(table: SlotTable, request: SlotLoad) -> None:
        if tuple(request.token_ids) == PROMPT:
            raise ValueError("no such grammar")
        load_slot(table, request)

    monkeypatch.setattr(SlotTable, "load", refusing)
    engine = submitted(tiny_path)
    batches = engine.run()
    (failed,) = batches.pop("long")
    assert failed.finish_reason == "failed"
    assert "no such grammar" in failed.error
    assert {name: [id_ for batch in told for id_ in batch.token_ids] for name, told in batches.items()} == {
        name: tokens for name, tokens in expected.items() if name != "long"
    }


def test_a_warm_up_that_does_not_fit_is_made_smaller(tiny_path, memory):
    memory.tokens = 20
    assert warm_up(loaded(tiny_path)).flops_per_second > 0
    assert memory.refused == [64, 32]


def test_a_memory_without_room_for_a_token_names_the_setting(tiny_path, memory):
    memory.tokens = 0
    with pytest.raises(SettingsError, match="lower TIERLINE_KV_CACHE_BLOCKS"):
        warm_up(loaded(tiny_path))


def loaded(tiny_path) -> Loaded:
    return load(WorkerSettings.from_env({"TIERLINE_MODEL_SOURCE": str(tiny_path), "TIERLINE_DEVICE": "cpu"}))
