"""An adapter in the batch gives what transformers gives with the adapter merged into the weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_testing import Bench, rows_plan
from tiny_adapter import MODULES, write_merged, write_tiny_adapter
from transformers import AutoModelForCausalLM

from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import read_peft

NEW = 16
PROMPTS = [
    [int(token) for token in np.random.default_rng(length).integers(0, 256, length)] for length in (33, 7, 50, 21)
]
NAMES = ["red", "green", "blue", ""]


def oracle(path: Path, *prompts: list[int]) -> list[list[int]]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    given = []
    for ids in map(torch.tensor, ([prompt] for prompt in prompts)):
        mask = torch.ones_like(ids)
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        given.append(out[0, ids.shape[1] :].tolist())
    return given


@pytest.fixture(scope="module")
def adapters(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("adapters")
    return {
        "red": write_tiny_adapter(home / "red", tiny_path, 1, rank=4),
        "green": write_tiny_adapter(home / "green", tiny_path, 2, rank=8, modules=MODULES[:1] + MODULES[2:3]),
        "blue": write_tiny_adapter(home / "blue", tiny_path, 3, rank=3, modules=MODULES[3:]),
    }


@pytest.fixture(scope="module")
def expected(tiny_path: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict:
    home = tmp_path_factory.mktemp("merged")
    merged = {name: write_merged(home / name, tiny_path, path) for name, path in adapters.items()}
    answers = {name: oracle(merged.get(name, tiny_path), *PROMPTS) for name in NAMES}
    return {(name, at): answers[name][at] for name in NAMES for at in range(len(PROMPTS))}


def adapted(tiny_path: Path, adapters: dict[str, Path], **sizes: int) -> Bench:
    bench = Bench.load(tiny_path, **{"blocks": 256, **sizes})
    for name, path in adapters.items():
        bench.adapt(name, path)
    return bench


def test_the_adapters_answers_differ(expected):
    assert len({tuple(expected[name, 0]) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_alone_in_any_chunks(tiny_path, adapters, expected, name, chunk):
    bench = adapted(tiny_path, adapters)
    assert bench.generate(PROMPTS[0], NEW, chunk=chunk, adapter=name) == expected[name, 0]


@pytest.mark.parametrize("seed", range(3))
def test_three_adapters_and_none_in_one_batch(tiny_path, adapters, expected, seed):
    names = [NAMES[(at + seed) % len(NAMES)] for at in range(len(PROMPTS))]
    out = adapted(tiny_path, adapters).generate_together(PROMPTS, NEW, seed, names)
    assert out == [expected[name, at] for at, name in enumerate(names)]


def test_rows_of_one_adapter_that_lie_apart(tiny_path, adapters, expected):
    names = ["red", "", "red", "blue"]
    out = adapted(tiny_path, adapters).generate_together(PROMPTS, NEW, 5, names)
    assert out == [expected[name, at] for at, name in enumerate(names)]


@pytest.mark.parametrize("block_tokens", [2, 4, 16])
def test_pages_of_any_size_hold_the_same_adapter(tiny_path, adapters, expected, block_tokens):
    bench = adapted(tiny_path, adapters, block_tokens=block_tokens, blocks=512 // block_tokens * 4)
    assert bench.generate(PROMPTS[1], NEW, adapter="red") == expected["red", 1]


def test_logits_equal_the_merged_models(tiny_path, adapters, tmp_path):
    bench = adapted(tiny_path, adapters)
    merged = write_merged(tmp_path / "merged", tiny_path, adapters["red"])
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, attn_implementation="eager")
    seen = []
    forward = bench.executor._model.forward
    object.__setattr__(bench.executor, "_model", _Recorder(forward, seen))
    bench.admit(0, PROMPTS[0], 1, adapter="red")
    bench.executor.compute(rows_plan([(0, 0, len(PROMPTS[0]), True)]))
    with torch.inference_mode():
        wanted = model(torch.tensor([PROMPTS[0]])).logits[0, -1]
    assert torch.allclose(seen[0][0], wanted, atol=2e-4, rtol=1e-4)


class _Recorder:
    def __init__(self, forward, seen: list[torch.Tensor]) -> None:
        self._forward, self._seen = forward, seen

    def forward(self, *arguments) -> torch.Tensor:
        self._seen.append(self._forward(*arguments))
        return self._seen[-1]


def test_float32_bits_do_not_tell_an_adapters_company(tiny_path, adapters):
    """Decodes, chunks and batches leave the same KV: what makes a moved stream with an adapter go on exactly."""
    alone = adapted(tiny_path, adapters)
    whole = alone.generate(PROMPTS[2], NEW, adapter="red")
    reference = kept(alone, [*PROMPTS[2], *whole])
    for chunk in (1, 3, 16):
        bench = adapted(tiny_path, adapters)
        bench.generate_together([PROMPTS[1], PROMPTS[0]], 2, 1, ["blue", "red"])
        assert torch.equal(kept(bench, [*PROMPTS[2], *whole], chunk), reference)


def kept(bench: Bench, token_ids: list[int], chunk: int = 1000) -> torch.Tensor:
    """The KV of a context with the adapter red, computed beside a stream of the same adapter."""
    bench.admit(5, token_ids, 1, adapter="red")
    bench.admit(6, PROMPTS[1], 100, adapter="red")
    for step, start in enumerate(range(0, len(token_ids), chunk)):
        count = min(chunk, len(token_ids) - start)
        rows = [(5, start, count, False)] + ([(6, step, 1, False)] if chunk < 1000 and step < 7 else [])
        bench.executor.compute(rows_plan(rows))
    blocks = bench.slots.blocks[5, : len(token_ids) // bench.arena.block_tokens]
    return bench.arena.pages[torch.from_numpy(blocks)].clone()


def test_ranks_and_scales_of_single_modules(tiny_path, tmp_path):
    def rank_of(module: str) -> int:
        return 2 if module.endswith("layers.1.self_attn.q_proj") else 6 if module.endswith("down_proj") else 4

    config = {"rank_pattern": {r"layers\.1\.self_attn\.q_proj": 2, "down_proj": 6}, "alpha_pattern": {"down_proj": 3}}
    path = write_tiny_adapter(tmp_path / "mixed", tiny_path, 9, rank_of=rank_of, use_rslora=True, **config)

    def scale(module: str) -> float:
        return (3 if module.endswith("down_proj") else 8) / math.sqrt(rank_of(module))

    merged = write_merged(tmp_path / "merged", tiny_path, path, scale)
    bench = adapted(tiny_path, {"mixed": path})
    assert bench.generate(PROMPTS[0], NEW, adapter="mixed") == oracle(merged, PROMPTS[0])[0]


def test_an_adapter_loaded_again_elsewhere_computes_the_same(tiny_path, adapters, expected):
    bench = adapted(tiny_path, adapters)
    bench.adapt("red", adapters["red"])
    assert bench.generate(PROMPTS[1], NEW, adapter="red") == expected["red", 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(tiny_path, adapters, expected, dtype):
    bench = Bench.load(tiny_path, dtype, blocks=256)
    bench.adapt("red", adapters["red"])
    assert bench.generate(PROMPTS[0], 4, adapter="red")[:1] == expected["red", 0][:1]


def test_small_pages_cost_little_more_than_the_weights(tiny_path, adapters):
    bench = Bench.load(tiny_path)
    numbers = bench.arena.block_rows.shape[1]
    weights = read_peft(adapters["red"], bench.config, 8)
    needed = sum(module.down.numel() + module.up.numel() for module in weights.modules.values())
    paged = paginate(weights, bench.config, numbers, torch.float32)
    assert needed <= paged.page_count * numbers <= 1.5 * needed
