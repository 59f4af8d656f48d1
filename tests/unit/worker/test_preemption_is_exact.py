"""A preempted request gives the tokens of an undisturbed one, in float32 bit by bit, wherever its KV was meanwhile."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from tierline.api.decision_matrix import PreemptionGranularity, PreemptionSave
from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.memory.transfers import StorageTier, TransferResult
from tierline.scheduling.plans import BatchPlan, EngineLimits, EngineRequest, IterationResult
from tierline.wire.frames import Sampling
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.decoder import Decoder
from tierline_worker.model.load import load_model
from tierline_worker.slots import SlotLoad, SlotTable
from tierline_worker.tiers.disk_store import DiskStore
from tierline_worker.tiers.host_store import HostStore
from tierline_worker.tiers.tiers import KVTiers

LIMITS = EngineLimits(
    max_running_requests=2,
    max_batched_tokens=12,
    max_model_tokens=64,
    block_tokens=4,
    total_blocks=24,
    host_blocks=12,
    disk_blocks=12,
)
PROMPT = [5, 9, 2, 17, 30, 8, 41, 3, 11, 26, 7, 19, 33, 4, 50, 6, 12]
OTHER = [7, 7, 21, 9]
NEW_TOKENS = 10
MOMENTS = range(1, NEW_TOKENS + 1)
TRANSFER_STEPS = 1


@pytest.fixture(scope="module")
def model(tiny_path: Path) -> Decoder:
    torch.set_num_threads(1)
    return load_model(tiny_path, torch.float32)


@dataclass
class Rig:
    """The real core, executor and stores, stepped by hand. `tokens` are what the requests were given.

    A transfer is over when its step is, and the core hears of it `TRANSFER_STEPS` later: threads decide nothing.
    """

    core: CheckedSchedulerCore
    executor: Executor
    tiers: KVTiers
    disk_path: Path
    tokens: dict[str, list[int]]
    ended: deque[list[TransferResult]] = field(default_factory=deque)

    @staticmethod
    def of(model: Decoder, folder: Path, limits: EngineLimits = LIMITS) -> "Rig":
        arena = KVArena.allocate(model.config, limits.total_blocks, limits.block_tokens, torch.float32)
        page_bytes, path = arena.pages[0].numel() * 4, folder / "kv-pages"
        stores = {
            StorageTier.HOST: HostStore(limits.host_blocks, page_bytes, torch.device("cpu")),
            StorageTier.DISK: DiskStore(path, limits.disk_blocks, page_bytes),
        }
        tiers = KVTiers(arena.pages, stores)
        slots = SlotTable(limits.max_running_requests, limits.max_model_tokens, limits.block_tokens, ())
        executor = Executor(model, CPUAttention(arena), slots, limits.block_tokens, tiers=tiers)
        core = CheckedSchedulerCore(limits, LatencyModel(Coefficients(1.0, 10.0, 0.0, 0.1, 0.0)))
        return Rig(core, executor, tiers, path, {})

    def submit(self, name: str, prompt: list[int], **wishes: str) -> None:
        self.tokens[name] = list(prompt)
        assert self.core.submit(EngineRequest(name, len(prompt), NEW_TOKENS, **wishes)) is None

    def step(self) -> None:
        if len(self.ended) > TRANSFER_STEPS:
            for result in self.ended.popleft():
                self.core.transferred(replace(result, elapsed_ms=1.0))
        plan = self.core.plan(0.0)
        if plan is not None:
            self.run(plan)
        self.ended.append([])
        while results := self.tiers.wait(5.0):
            self.ended[-1] += results

    def run(self, plan: BatchPlan) -> None:
        sampling = Sampling(NEW_TOKENS, ignore_eos=True)
        loads = [SlotLoad(each.slot, self.tokens[each.request_id], sampling) for each in plan.admitted]
        self.executor.apply(plan, loads)
        names = [self.core.slots.request(slot).request_id for slot in plan.slots.tolist()]
        if not names:
            self.core.commit(IterationResult(plan.iteration, plan.samples, 0.0))
            return
        sampled = self.executor.compute(plan)
        committed = self.core.commit(IterationResult(plan.iteration, sampled.stopped & False, 1.0))
        for row in committed.delivered:
            self.tokens[names[row]].append(int(sampled.tokens[row]))

    def steps(self) -> Iterator[int]:
        """Step until every request has ended; yields the number of each step before it is taken."""
        number = 0
        while not self.core.empty:
            yield number
            self.step()
            number += 1
            assert number < 500, "the requests do not end"

    def preempt(self, name: str, missing: int = 1) -> bool:
        """Take blocks from a request that runs."""
        slot = self.core.slots.slot_of.get(name)
        if slot is None or not self.core.memory.owned[slot] or slot in self.core.saved.loading_slots:
            return False
        self.core.parking.park(slot, missing)
        return True


@pytest.fixture(scope="module")
def undisturbed(model: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    rig = Rig.of(model, tmp_path_factory.mktemp("undisturbed"))
    rig.submit("victim", PROMPT)
    rig.submit("other", OTHER)
    for _ in rig.steps():
        pass
    rig.tiers.close()
    assert len(rig.tokens["victim"]) == len(PROMPT) + NEW_TOKENS
    return rig.tokens


@pytest.mark.parametrize("granularity", ["Request", "Token"])
@pytest.mark.parametrize("save", ["CPU", "Disk", "Recompute"])
def test_preempted_once_at_any_step(
    model: Decoder,
    undisturbed: dict[str, list[int]],
    tmp_path: Path,
    save: PreemptionSave,
    granularity: PreemptionGranularity,
) -> None:
    rig = Rig.of(model, tmp_path)
    for moment in MOMENTS:
        rig.submit("victim", PROMPT, save=save, granularity=granularity)
        rig.submit("other", OTHER)
        preempted = False
        for number in rig.steps():
            preempted |= number == moment and rig.preempt("victim")
        assert preempted, f"nothing to preempt at step {moment}"
        assert rig.tokens == undisturbed, f"other tokens after a preemption at step {moment}"
    counters = rig.core.counters
    saved = {"CPU": counters.preemptions_host, "Disk": counters.preemptions_disk}.get(save, 0)
    # A tail that is not computed yet is given up without a save.
    assert saved >= (0 if save == "Recompute" else len(MOMENTS) - 2)
    assert bool(counters.restored_tokens) == (save != "Recompute")
    assert bool(counters.recomputed_tokens) == (save == "Recompute")
    assert bool(counters.preemptions_partial) == (granularity == "Token")
    rig.tiers.close()


@pytest.mark.parametrize("save", ["CPU", "Disk"])
def test_preempted_whenever_it_runs(
    model: Decoder, undisturbed: dict[str, list[int]], tmp_path: Path, save: PreemptionSave
) -> None:
    rig = Rig.of(model, tmp_path)
    rig.submit("victim", PROMPT, save=save, granularity="Token")
    rig.submit("other", OTHER)
    taken = [rig.preempt("victim", missing=1 + number % 3) for number in rig.steps() if number % 2]
    assert sum(taken) > NEW_TOKENS // 2
    assert rig.tokens == undisturbed
    rig.tiers.close()


def test_a_damaged_page_costs_time_and_no_token(
    model: Decoder, undisturbed: dict[str, list[int]], tmp_path: Path
) -> None:
    rig = Rig.of(model, tmp_path)
    rig.submit("victim", PROMPT, save="Disk")
    rig.submit("other", OTHER)
    for number in rig.steps():
        if number == 4:
            assert rig.preempt("victim")
            rig.step()
            with rig.disk_path.open("r+b") as file:
                file.write(b"\xff" * 64)
    assert rig.core.counters.restored_tokens == 0
    assert rig.core.counters.recomputed_tokens > 0
    assert rig.tokens == undisturbed
    rig.tiers.close()


def test_a_tier_that_fails_every_time_costs_no_token(
    model: Decoder, undisturbed: dict[str, list[int]], tmp_path: Path
) -> None:
    rig = Rig.of(model, tmp_path)
    rig.submit("victim", PROMPT, save="Disk", granularity="Token")
    rig.submit("other", OTHER)
    for number in rig.steps():
        rig.disk_path.open("r+b").truncate(0)
        if number % 4 == 3:
            rig.preempt("victim")
    assert rig.core.counters.restored_tokens == 0
    assert rig.tokens == undisturbed
    rig.tiers.close()
