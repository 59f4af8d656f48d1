"""Prefix caching and forks on a real model: whatever is shared, in float32 each token is the one computed alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_testing import Bench, rows_plan
from msgspec.structs import replace
from tiny_engine import GATEWAY, TinyEngine

from tierline.wire.frames import Cancel, Sampling, Submit
from tierline_worker.engine.messages import Cancelled, Submitted

NEW_TOKENS = 12
SYSTEM = tuple(int(token) for token in np.random.default_rng(3).integers(0, 250, 21))


def question(number: int) -> tuple[int, ...]:
    return tuple(int(token) for token in np.random.default_rng(100 + number).integers(0, 250, 5 + number))


def tokens_of(engine: TinyEngine) -> dict[str, list[int]]:
    return {name: [token for batch in batches for token in batch.token_ids] for name, batches in engine.run().items()}


@pytest.fixture(scope="module")
def alone(tiny_path: Path) -> dict[tuple[int, ...], list[int]]:
    """What each prompt gets from an engine that caches nothing, one after the other."""
    engine = TinyEngine(tiny_path, TIERLINE_PREFIX_CACHING="Disabled")
    answers = {}
    for prompt in (SYSTEM, *(SYSTEM + question(number) for number in range(6))):
        engine.submit("r", prompt, NEW_TOKENS)
        answers[prompt] = tokens_of(engine)["r"]
    return answers


def counters(engine: TinyEngine):
    return engine.engine.snapshot.counters


def test_a_hit_gives_the_tokens_of_a_miss(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path)
    for number in range(3):
        engine.submit("r", SYSTEM + question(number), NEW_TOKENS)
        assert tokens_of(engine)["r"] == alone[SYSTEM + question(number)]
    assert counters(engine).prefix_hit_tokens == 2 * 20


def test_an_answer_is_found_again_in_the_next_turn(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path)
    engine.submit("first", SYSTEM, NEW_TOKENS)
    conversation = SYSTEM + tuple(tokens_of(engine)["first"]) + question(1)
    engine.submit("second", conversation, NEW_TOKENS)
    found = tokens_of(engine)["second"]
    assert counters(engine).prefix_hit_tokens == (len(SYSTEM) + NEW_TOKENS - 1) // 4 * 4
    fresh = TinyEngine(tiny_path, TIERLINE_PREFIX_CACHING="Disabled")
    fresh.submit("second", conversation, NEW_TOKENS)
    assert found == tokens_of(fresh)["second"]


def test_a_moved_request_finds_what_others_had_in_common_with_it(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path)
    prompt = SYSTEM + question(2)
    engine.submit("here", prompt, NEW_TOKENS)
    tokens_of(engine)
    engine.submit("moved", prompt, NEW_TOKENS, emitted_ids=tuple(alone[prompt][:7]))
    assert tokens_of(engine)["moved"] == alone[prompt][7:]
    assert counters(engine).prefix_hit_tokens == (len(prompt) + 7 - 1) // 4 * 4


def test_tenants_do_not_share_unless_they_have_one_namespace(tiny_path) -> None:
    engine = TinyEngine(tiny_path)
    for name, namespace in (("a", "n/acme"), ("b", "n/globex"), ("c", "n/acme")):
        engine.submit(name, SYSTEM, NEW_TOKENS, cache_namespace=namespace)
        tokens_of(engine)
        assert counters(engine).prefix_hit_tokens == (20 if name == "c" else 0)


def test_three_answers_compute_their_prompt_once(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path, TIERLINE_PREFIX_CACHING="Disabled")
    prompt = SYSTEM + question(0)
    engine.submit("a", prompt, NEW_TOKENS)
    for fork in ("b", "c"):
        engine.submit(fork, prompt, NEW_TOKENS, fork_of="a")
    assert tokens_of(engine) == dict.fromkeys("abc", alone[prompt])
    assert counters(engine).copied_blocks == 2
    assert counters(engine).prefix_hit_tokens == 2 * (len(prompt) - 1)


def test_three_sampled_answers_are_those_of_three_requests(tiny_path) -> None:
    answers = []
    for fork_of in ("", "a"):
        engine = TinyEngine(tiny_path)
        for seed, name in enumerate("abc"):
            sampling = Sampling(NEW_TOKENS, temperature=1.0, seed=seed, ignore_eos=True)
            frame = Submit(name, 1, SYSTEM, sampling, fork_of=fork_of if name != "a" else "")
            engine.engine.handle(Submitted(GATEWAY, frame))
        answers.append(tokens_of(engine))
    assert answers[0] == answers[1]
    assert len({tuple(answer) for answer in answers[0].values()}) == 3


def test_a_fork_goes_on_when_its_parent_is_cancelled(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path, TIERLINE_MAX_BATCHED_TOKENS="8")
    prompt = SYSTEM + question(0)
    engine.submit("a", prompt, NEW_TOKENS)
    engine.submit("b", prompt, NEW_TOKENS, fork_of="a")
    engine.engine.step()
    engine.engine.handle(Cancelled(GATEWAY, Cancel("a", 1)))
    assert tokens_of(engine)["b"] == alone[prompt]


def test_a_fork_of_another_prompt_or_namespace_takes_nothing_over(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path, TIERLINE_PREFIX_CACHING="Disabled")
    other = (*SYSTEM[:-1], (SYSTEM[-1] + 1) % 250)
    engine.submit("a", SYSTEM, NEW_TOKENS, cache_namespace="n/acme")
    engine.engine.step()
    engine.submit("b", other, NEW_TOKENS, cache_namespace="n/acme", fork_of="a")
    engine.submit("c", SYSTEM, NEW_TOKENS, cache_namespace="n/globex", fork_of="a")
    assert tokens_of(engine)["c"] == alone[SYSTEM]
    assert counters(engine).copied_blocks == 0


def test_eviction_changes_no_token(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path, TIERLINE_KV_CACHE_BLOCKS="16", TIERLINE_MAX_MODEL_TOKENS="60")
    for numbers in ((0, 1), (2, 3), (4, 0), (1, 2)):
        for number in numbers:
            engine.submit(str(number), SYSTEM + question(number), NEW_TOKENS)
        assert tokens_of(engine) == {str(number): alone[SYSTEM + question(number)] for number in numbers}
    assert counters(engine).prefix_hit_tokens
    assert counters(engine).evicted_blocks


def test_a_preempted_request_finds_what_is_left_of_its_own_context(tiny_path) -> None:
    prompts = {name: SYSTEM[number:] + question(number + 1) for number, name in enumerate("ab")}
    small, answers = {"TIERLINE_KV_CACHE_BLOCKS": "16", "TIERLINE_MAX_MODEL_TOKENS": "60"}, []
    for environ in ({"TIERLINE_PREFIX_CACHING": "Disabled"}, small):
        engine = TinyEngine(tiny_path, **environ)
        for name, prompt in prompts.items():
            engine.submit(name, prompt, NEW_TOKENS)
        answers.append(tokens_of(engine))
    assert answers[0] == answers[1]
    assert counters(engine).prefix_hit_tokens


def test_a_copied_block_is_written_without_its_source(tiny_path) -> None:
    bench = Bench.load(tiny_path, blocks=8)
    bench.arena.pages[2] = 5.0
    bench.executor.apply(replace(rows_plan([]), copies=np.array([(2, 6), (2, 7)], np.int32)), [])
    bench.arena.pages[6] = 1.0
    assert [float(bench.arena.pages[block].mean()) for block in (2, 6, 7)] == [5.0, 1.0, 5.0]


def test_what_a_failed_request_computed_is_cleared_and_never_found(tiny_path, alone) -> None:
    engine = TinyEngine(tiny_path)
    engine.submit("a", SYSTEM + question(0), NEW_TOKENS)
    engine.engine.step()
    engine.submit("b", SYSTEM + question(1), NEW_TOKENS)
    engine.engine.step()
    arena = engine.loaded.executor._attention._arena
    shared, other = engine.engine._core.memory.table[:2, 0].tolist()
    assert shared == other
    arena.pages[shared] = float("nan")
    ends = {name: batches[-1].finish_reason for name, batches in engine.run().items()}
    assert ends == {"a": "failed", "b": "failed"}
    assert bool(torch.isfinite(arena.pages).all())
    engine.submit("c", SYSTEM + question(2), NEW_TOKENS)
    assert tokens_of(engine)["c"] == alone[SYSTEM + question(2)]
