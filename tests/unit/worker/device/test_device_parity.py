"""What CPUs serve devices serve as well: adapters, drafts, several ranks. Tokens are those of the CPU's executor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from device_testing import device_around, slots_of
from engine_testing import Bench, rows_plan
from msgspec.structs import replace
from speculating import Adversary, Told, answers, model_drafter
from tiny_adapter import write_tiny_adapter

from tierline.scheduling.plans import AdapterLoad, EngineLimits
from tierline.wire.frames import Sampling
from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import read_peft
from tierline_worker.device.choice import choose_device
from tierline_worker.errors import SettingsError
from tierline_worker.model.load import load_model
from tierline_worker.parallel import group as groups
from tierline_worker.slots import SlotLoad

LIMITS = EngineLimits(4, 64, 96, 4, 200, max_adapters=2)
NEW = 6
PROMPTS = [[int(token) for token in np.random.default_rng(length).integers(5, 250, length)] for length in (9, 5, 12)]
KEYS = ["red", "", "green"]


@pytest.fixture(scope="module")
def adapters(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("device-adapters")
    return {name: write_tiny_adapter(home / name, tiny_path, seed, rank=4) for name, seed in (("red", 1), ("green", 2))}


def test_several_adapters_run_in_one_batch_one_iteration_ahead(tiny_path, adapters) -> None:
    bench = Bench.load(tiny_path, blocks=200)
    for name, path in adapters.items():
        bench.adapt(name, path)
    expected = [bench.generate(ids, NEW, adapter=key) for ids, key in zip(PROMPTS, KEYS, strict=True)]

    model = load_model(tiny_path, torch.float32, LIMITS.max_model_tokens)
    device = device_around(model, slots_of(LIMITS), LIMITS)
    resident = device._general.resident
    assert resident is not None
    free, loads = list(range(LIMITS.total_blocks)), []
    for name, path in adapters.items():
        paged = paginate(read_peft(path, model.config, 64), model.config, resident._blocks.shape[1], torch.float32)
        resident.offered[name] = paged
        loads.append(AdapterLoad(name, np.array([free.pop() for _ in range(paged.page_count)], np.int32)))
    updates = [(slot, index, free.pop()) for slot in range(3) for index in range(6)]
    prompts = replace(
        rows_plan([(slot, 0, len(ids), True) for slot, ids in enumerate(PROMPTS)], updates), adapters=tuple(loads)
    )
    slots = [
        SlotLoad(slot, ids, Sampling(NEW, ignore_eos=True), key)
        for slot, (ids, key) in enumerate(zip(PROMPTS, KEYS, strict=True))
    ]
    assert not device.may_run_ahead(prompts, slots)
    device.apply(prompts, slots)
    pending, given = [device.launch(prompts)], []
    for step in range(1, NEW):
        decodes = rows_plan([(slot, len(ids) + step - 1, 1, True) for slot, ids in enumerate(PROMPTS)])
        assert device.may_run_ahead(decodes, [])
        device.apply(decodes, [])
        pending.append(device.launch(decodes))
        given.append(pending.pop(0)().tokens.tolist())
    given.append(pending.pop()().tokens.tolist())
    assert [list(column) for column in zip(*given, strict=True)] == expected


REQUESTS = [(PROMPTS[0], Sampling(20)), (PROMPTS[1], Sampling(16, temperature=0.8, seed=3)), (PROMPTS[2], Sampling(24))]


@pytest.mark.parametrize("kind", ["told", "adversary", "model"])
def test_drafts_are_verified_and_change_nothing(tiny_path, kind) -> None:
    plain = answers(tiny_path, REQUESTS)
    told = Told({tuple(prompt): got for (prompt, _), (got, _) in zip(REQUESTS, plain.answers, strict=True)})
    drafter = {"told": lambda _slots: told, "adversary": lambda _slots: Adversary(), "model": model_drafter(tiny_path)}
    run = answers(tiny_path, REQUESTS, drafter[kind], on_device=True)
    assert run.answers == plain.answers
    assert run.counters.drafted_tokens > 0
    assert (run.counters.accepted_tokens > 0) is (kind != "adversary")


class Recorded:
    """A process group that notes what it is asked for."""

    class Options:
        _timeout: Any = None

    def __init__(self, store: object, rank: int, ranks: int, options: Options) -> None:
        self.made, self.asked = (rank, ranks, options._timeout.total_seconds()), list[str]()

    def allreduce(self, tensors: list[torch.Tensor]) -> "Recorded":
        tensors[0] *= 2
        self.asked.append("allreduce")
        return self

    def allgather(self, parts: list[list[torch.Tensor]], own: list[torch.Tensor]) -> "Recorded":
        for part in parts[0]:
            part.copy_(own[0])
        self.asked.append("allgather")
        return self

    def wait(self) -> None: ...


def test_ranks_on_gpus_meet_over_nccl(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(groups.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(groups.distributed, "ProcessGroupNCCL", Recorded, raising=False)
    group = groups.open_group(torch.device("cuda", 1), 1, 2, tmp_path / "meeting", 30)
    assert isinstance(group, groups.NCCLGroup)
    assert group._group.made == (1, 2, 30.0)
    assert group.summed(torch.ones(2, dtype=torch.bfloat16)).tolist() == [2.0, 2.0]
    assert group.gathered(torch.ones(1, 3)).shape == (1, 6)
    assert group._group.asked == ["allreduce", "allgather"]


def test_without_nccl_the_reason_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(groups.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(groups.RankLost, match="no NCCL"):
        groups.open_group(torch.device("cuda", 0), 0, 2, tmp_path / "meeting", 30)


def test_each_rank_has_a_gpu_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_device("auto", 2) == torch.device("cuda", 2)
    assert choose_device("cuda:1", 1) == torch.device("cuda", 2)
    assert choose_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(SettingsError, match="lower TIERLINE_TENSOR_PARALLEL"):
        choose_device("cuda:1", 2)
