"""Drives the worker's executor with hand-made plans, without scheduling core, threads or sockets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from tierline.scheduling.plans import AdapterLoad, BatchPlan
from tierline.wire.frames import Sampling
from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import read_peft
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.load import load_model
from tierline_worker.parallel.shard import Sharding
from tierline_worker.slots import SlotLoad, SlotTable


def rows_plan(
    rows: Sequence[tuple[int, int, int, bool]], updates: Sequence[tuple[int, int, int]] = (), iteration: int = 1
) -> BatchPlan:
    """Return a plan of rows (slot, start, count, samples), decodes first as plans have them."""
    ordered = sorted(rows, key=lambda row: row[2] != 1)
    table = np.array([row[:3] for row in ordered], dtype=np.int32).reshape(-1, 3)
    return BatchPlan(
        iteration=iteration,
        slots=table[:, 0],
        starts=table[:, 1],
        counts=table[:, 2],
        samples=np.array([row[3] for row in ordered], dtype=np.bool_),
        block_updates=np.array(updates, dtype=np.int32).reshape(-1, 3),
        decodes=int((table[:, 2] == 1).sum()),
    )


@dataclass
class Bench:
    """An executor whose requests' blocks are spread over the arena by a fixed shuffle."""

    executor: Executor
    slots: SlotTable
    arena: KVArena
    adapters: ResidentAdapters
    config: ModelConfig
    free: list[int] = field(default_factory=list)

    @staticmethod
    def load(
        path: Path,
        dtype: torch.dtype = torch.float32,
        blocks: int = 64,
        block_tokens: int = 4,
        *,
        quantization: str = "None",
        sharding: Sharding | None = None,
    ) -> "Bench":
        torch.set_num_threads(1)
        model = load_model(path, dtype, quantization=quantization, sharding=sharding)
        arena = KVArena.allocate(model.config, blocks, block_tokens, dtype)
        slots = SlotTable(16, min(model.config.max_positions, 1024), block_tokens, model.config.eos_token_ids)
        adapters = ResidentAdapters(arena.block_rows)
        executor = Executor(model, CPUAttention(arena), slots, block_tokens, adapters=adapters)
        return Bench(
            executor, slots, arena, adapters, model.config, np.random.default_rng(7).permutation(blocks).tolist()
        )

    def adapt(self, key: str, path: Path, max_rank: int = 64) -> None:
        """Load a LoRA adapter into blocks."""
        arena, config = self.arena, self.config
        paged = paginate(read_peft(path, config, max_rank), config, arena.block_rows.shape[1], arena.pages.dtype)
        self.adapters.offered[key] = paged
        blocks = np.array([self.free.pop() for _ in range(paged.page_count)], np.int32)
        self.executor.apply(replace(rows_plan([]), adapters=(AdapterLoad(key, blocks),)), [])

    def admit(
        self, slot: int, token_ids: Sequence[int], room: int, sampling: Sampling | None = None, adapter: str = ""
    ) -> None:
        """Load a request and give it blocks for its tokens and `room` more."""
        count = -(-(len(token_ids) + room) // self.arena.block_tokens)
        updates = [(slot, index, self.free.pop()) for index in range(count)]
        load = SlotLoad(slot, list(token_ids), sampling or Sampling(room, ignore_eos=True), adapter)
        self.executor.apply(rows_plan([], updates), [load])

    def release(self, slot: int, count: int) -> None:
        self.free.extend(self.slots.blocks[slot, :count].tolist())

    def generate(
        self, token_ids: Sequence[int], new_tokens: int, chunk: int = 10_000, slot: int = 0, adapter: str = ""
    ) -> list[int]:
        """Run one request alone: chunks of its prompt, then decodes."""
        self.admit(slot, token_ids, new_tokens, adapter=adapter)
        out: list[int] = []
        start = 0
        while len(out) < new_tokens:
            known = len(token_ids) + len(out)
            count = min(chunk, known - start)
            samples = start + count == known
            sampled = self.executor.compute(rows_plan([(slot, start, count, samples)]))
            start += count
            if samples:
                out.append(int(sampled.tokens[0]))
        self.release(slot, -(-(len(token_ids) + new_tokens) // self.arena.block_tokens))
        return out

    def generate_together(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, seed: int, adapters: Sequence[str] = ()
    ) -> list[list[int]]:
        """Run all prompts in one batch, each by random chunks, some pausing."""
        random = np.random.default_rng(seed)
        done = [0] * len(prompts)
        out: list[list[int]] = [[] for _ in prompts]
        for slot, prompt in enumerate(prompts):
            self.admit(slot, prompt, new_tokens, adapter=adapters[slot] if adapters else "")
        while any(len(tokens) < new_tokens for tokens in out):
            rows = []
            for slot in range(len(prompts)):
                known = len(prompts[slot]) + len(out[slot])
                if len(out[slot]) < new_tokens and random.random() < 0.8:
                    count = min(int(random.integers(1, 20)), known - done[slot])
                    rows.append((slot, done[slot], count, done[slot] + count == known))
                    done[slot] += count
            if rows:
                self._step_into(rows, out)
        return out

    def _step_into(self, rows: Sequence[tuple[int, int, int, bool]], out: list[list[int]]) -> None:
        plan = rows_plan(rows)
        sampled = self.executor.compute(plan)
        for row in np.flatnonzero(plan.samples):
            out[int(plan.slots[row])].append(int(sampled.tokens[row]))
