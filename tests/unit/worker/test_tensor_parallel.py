"""Two ranks compute what one does: each a thread here, with a real group between them."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from engine_testing import Bench, rows_plan
from tiny_checkpoint import CONFIG, QWEN2, QWEN3, write_tiny_checkpoint

from tierline.scheduling.plans import BatchPlan
from tierline_worker.errors import SettingsError
from tierline_worker.executor import Executor, NotFinite, Sampled
from tierline_worker.model.load import load_model, open_checkpoint
from tierline_worker.model.quantize import Groups4
from tierline_worker.parallel.executor import TensorParallelExecutor
from tierline_worker.parallel.group import GlooGroup, RankLost
from tierline_worker.parallel.shard import Sharding, Split, check_divides
from tierline_worker.settings import WorkerSettings

PROMPT = [7, 3, 99, 200, 41, 90, 12]
LIMIT_S = 20


def on_two_ranks(folder: Path, work: Callable[[GlooGroup], list[int]]) -> list[list[int]]:
    """Run `work` as rank 0 and as rank 1, and return what each gave."""

    def as_rank(rank: int) -> list[int]:
        return work(GlooGroup(rank, 2, folder / "meeting", LIMIT_S))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(as_rank, range(2)))


@pytest.mark.parametrize("quantization", ["None", "Int8", "Int4"])
@pytest.mark.parametrize(
    "changes", [{}, {**QWEN2, "tie_word_embeddings": False}, QWEN3], ids=["llama", "qwen2", "qwen3"]
)
def test_two_ranks_give_the_tokens_of_one(tmp_path, changes, quantization):
    path = write_tiny_checkpoint(tmp_path / "model", **{**changes, "intermediate_size": 128})
    alone = Bench.load(path, quantization=quantization).generate(PROMPT, 12, chunk=4)

    def generate(group: GlooGroup) -> list[int]:
        bench = Bench.load(path, quantization=quantization, sharding=Sharding(group))
        assert bench.arena.kv_heads == 1
        return bench.generate(PROMPT, 12, chunk=4)

    together = on_two_ranks(tmp_path, generate)
    assert together[0] == together[1]
    # Quantized parts are rounded each by itself, so they are compared with one rank in full precision only.
    assert together[0] == alone or quantization != "None"


@pytest.mark.parametrize("split", Split)
def test_four_bit_values_are_divided_between_groups(split):
    groups = Groups4.of(torch.randn(64, 128, generator=torch.Generator().manual_seed(1)))
    parts = [Sharding(_Place(rank)).part_of_groups(groups, split) for rank in range(2)]
    assert torch.equal(torch.cat([part.dense() for part in parts if part], dim=split.value), groups.dense())
    torn = Groups4.of(torch.ones(64, 96))
    assert (Sharding(_Place(0)).part_of_groups(torn, split) is None) == (split is Split.INPUTS)


def test_a_vocabulary_that_does_not_divide_is_whole_on_each_rank(tmp_path):
    path = write_tiny_checkpoint(tmp_path / "model", vocab_size=321)
    alone = Bench.load(path).generate(PROMPT, 8)
    generate = lambda group: Bench.load(path, sharding=Sharding(group)).generate(PROMPT, 8)  # noqa: E731
    assert on_two_ranks(tmp_path, generate) == [alone, alone]


def test_each_rank_holds_half_of_what_is_divided(tmp_path, tiny_path):
    def size(group: GlooGroup | None) -> list[int]:
        return [load_model(tiny_path, torch.float32, sharding=Sharding(group)).weight_bytes]

    whole, half = size(None)[0], on_two_ranks(tmp_path, size)
    embedding = CONFIG["vocab_size"] * CONFIG["hidden_size"] * 4
    assert half == [[(whole - embedding) // 2 + embedding]] * 2


@pytest.mark.parametrize(
    ("change", "ranks", "words"),
    [
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, 4, "6 attention heads .* to 1 or 2"),
        ({"num_attention_heads": 8, "num_key_value_heads": 2}, 4, "2 key/value heads .* to 1 or 2"),
        ({"intermediate_size": 98}, 4, "98 numbers inside the MLP|2 key/value heads"),
        ({}, 3, "TIERLINE_TENSOR_PARALLEL is 3: the model's 4 attention heads"),
    ],
)
def test_sizes_that_do_not_divide_are_named(tmp_path, change, ranks, words):
    config = open_checkpoint(write_tiny_checkpoint(tmp_path / "model", **change)).config
    with pytest.raises(SettingsError, match=words):
        check_divides(config, ranks)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERLINE_MAX_ADAPTERS", "4"),
        ("TIERLINE_DRAFT_SOURCE", "/models/draft"),
        ("TIERLINE_HOST_CACHE_BLOCKS", "8"),
        ("TIERLINE_DISK_CACHE_BLOCKS", "8"),
    ],
)
def test_what_ranks_would_not_know_of_is_refused(name, value):
    environ = {"TIERLINE_MODEL_SOURCE": "/m", "TIERLINE_TENSOR_PARALLEL": "2", name: value}
    with pytest.raises(SettingsError, match=f"{name} is {value} and TIERLINE_TENSOR_PARALLEL 2"):
        WorkerSettings.from_env(environ)
    assert WorkerSettings.from_env({**environ, "TIERLINE_TENSOR_PARALLEL": "1"}).tensor_parallel == 1


@pytest.mark.parametrize("call", ["summed", "gathered"])
def test_a_rank_that_does_not_come_is_lost_in_time(tmp_path, call):
    done = threading.Event()

    def work(rank: int) -> str:
        group = GlooGroup(rank, 2, tmp_path / "meeting", limit_s=1)
        if rank == 1:
            assert done.wait(LIMIT_S)
            return ""
        with pytest.raises(RankLost, match="does not answer") as caught:
            getattr(group, call)(torch.ones(2, 3))
        done.set()
        return str(caught.value)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2)))[1] == ""


def test_sums_keep_the_dtype_but_add_up_in_float32(tmp_path):
    part = torch.tensor([[1.0, 256.0]], dtype=torch.bfloat16)

    def add(group: GlooGroup) -> list[int]:
        total = group.summed(part * (1 + group.rank))
        assert total.dtype is torch.bfloat16
        return total.int().tolist()

    assert on_two_ranks(tmp_path, add) == [[[3, 768]]] * 2


@dataclasses.dataclass
class _Place:
    """A rank of two that never has to speak."""

    rank: int
    ranks: int = 2

    def summed(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    gathered = summed


class _Ranks:
    """Stands for the processes: what they say, and what they were told."""

    limit_s, process_ids = 0, (1,)

    def __init__(self, *said: list[str]) -> None:
        self.said, self.told, self.reasons = list(said), [], []

    def failures(self, _wait_s: float = 0.0) -> list[str]:
        return self.said.pop(0) if self.said else []

    def tell(self, message: object) -> None:
        self.told.append(message)

    def lose(self, reason: str) -> None:
        self.reasons.append(reason)


@dataclasses.dataclass
class _Fails:
    error: Exception | None

    def compute(self, _plan: BatchPlan) -> Sampled:
        if self.error is not None:
            raise self.error
        return Sampled(*[torch.zeros(1).numpy()] * 2)


PLAN = rows_plan([(0, 0, 1, True)])


def _compute(own: _Fails, ranks: _Ranks) -> None:
    TensorParallelExecutor(own, ranks).compute(PLAN)  # type: ignore[arg-type]


def test_an_error_of_every_rank_is_the_requests():
    ranks = _Ranks([], ["rank 1: NotFinite"])
    with pytest.raises(NotFinite):
        _compute(_Fails(NotFinite("x")), ranks)
    assert ranks.reasons == []
    assert len(ranks.told) == 1


@pytest.mark.parametrize(
    ("own", "ranks", "words"),
    [
        (_Fails(MemoryError("full")), _Ranks([], []), "rank 0 failed, others did not: MemoryError"),
        (_Fails(None), _Ranks(["rank 1: MemoryError"]), "rank 0 succeeded, but not rank 1: MemoryError"),
        (_Fails(RankLost("another rank does not answer")), _Ranks(), "does not answer"),
    ],
    ids=["alone", "without", "gone"],
)
def test_any_other_failure_ends_the_worker_with_its_reason(own, ranks, words):
    with pytest.raises(RankLost, match=words):
        _compute(own, ranks)
    assert len(ranks.reasons) == 1
    assert words in ranks.reasons[0]


def test_executors_of_ranks_are_like_one(tiny_path):
    # The engine uses either: what one offers, the other has.
    offered = {name for name in vars(Executor) if not name.startswith("_")}
    assert offered <= set(dir(TensorParallelExecutor))
