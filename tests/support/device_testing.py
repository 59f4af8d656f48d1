"""The executor for devices, on a CPU: attention by torch operators over the same indices, programs run eagerly."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling, Submit
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.backend import Turn
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.device.buckets import Decodes, Eagerly
from tierline_worker.device.executor import DeviceExecutor
from tierline_worker.device.rows import DeviceAttention, DeviceRows
from tierline_worker.device.state import DeviceState
from tierline_worker.device.steps import Steps
from tierline_worker.device.transport import HostTransport
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.flights import Executes
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.model.decoder import Decoder
from tierline_worker.model.load import load_model
from tierline_worker.slots import SlotTable
from tierline_worker.speculation.drafter import Drafter
from tierline_worker.speculation.speculation import Speculation

FLAT = Coefficients(5.0, 0.1, 0.0, 0.0, 0.0)


class GatheredAttention(CPUAttention):
    """A `DeviceAttention`: gathers each token's context by the device's table and attends to it."""

    query_tokens = 3

    def __init__(self, arena: KVArena) -> None:
        super().__init__(arena)
        self.arena = arena

    def over(self, rows: DeviceRows) -> "_Gathered":
        return _Gathered(self, rows)


@dataclass(frozen=True)
class _Gathered:
    backend: GatheredAttention
    rows: DeviceRows

    def attend_heads(
        self, layer: int, projected: torch.Tensor, turn: Turn, qk_norm: torch.Tensor | None
    ) -> torch.Tensor:
        kv_heads = self.backend.arena.kv_heads
        query_key, value = torch.split(projected, [projected.shape[1] - kv_heads, kv_heads], dim=1)
        if qk_norm is not None:
            query_key = functional.rms_norm(query_key, projected.shape[-1:], None, turn.epsilon) * qk_norm
        query, key = torch.split(turn.rope.rotate(query_key), [query_key.shape[1] - kv_heads, kv_heads], dim=1)
        return self._attend(layer, query, key, value)

    def _attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        pages, size = self.backend.arena.pages[:, layer], self.backend.arena.block_tokens
        for kind, new in enumerate((key, value)):
            pages[self.rows.places // size, kind, :, self.rows.places % size] = new
        out = torch.empty_like(query)
        for row, (slot, context) in enumerate(zip(self.rows.slots, self.rows.contexts, strict=True)):
            out[row] = self._attended(pages, query[row], int(slot), int(context))
        for row, offset in self.rows.chunks.tiles.tolist() if self.rows.chunks else ():
            slot, start, count, first = self.rows.chunks.rows[:, row].tolist()
            for token in range(offset, min(offset + self.backend.query_tokens, count)):
                at = first + token
                out[at] = self._attended(pages, query[at], slot, start + token + 1)
        return out

    def _attended(self, pages: torch.Tensor, query: torch.Tensor, slot: int, context: int) -> torch.Tensor:
        blocks = self.rows.table[slot, : -(-context // pages.shape[3])].long()
        keys, values = pages[blocks].permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :context]
        heads = query.reshape(keys.shape[0], -1, keys.shape[-1])
        weights = torch.softmax(heads @ keys.transpose(1, 2) * keys.shape[-1] ** -0.5, dim=-1)
        return (weights @ values).view(query.shape)


def cpu_executor(path: Path, limits: EngineLimits) -> Executor:
    """Return the executor of CPUs."""
    model = load_model(path, torch.float32, limits.max_model_tokens)
    arena = KVArena.allocate(model.config, limits.total_blocks, limits.block_tokens, torch.float32)
    return Executor(model, CPUAttention(arena), slots_of(limits), limits.block_tokens)


def device_executor(
    path: Path, limits: EngineLimits, attention: Callable[[KVArena], DeviceAttention] = GatheredAttention
) -> DeviceExecutor:
    """Return the executor of devices; what is no request's in its arena is no number."""
    model = load_model(path, torch.float32, limits.max_model_tokens)
    return device_around(model, slots_of(limits), limits, attention)


def device_around(
    model: Decoder,
    slots: SlotTable,
    limits: EngineLimits,
    attention: Callable[[KVArena], DeviceAttention] = GatheredAttention,
    drafter: Drafter | None = None,
) -> DeviceExecutor:
    """Return the executor of devices around a model, with adapters and drafts as a GPU's."""
    arena = KVArena.allocate(model.config, limits.total_blocks + 1, limits.block_tokens, model.dtype)
    backend, transport, resident = attention(arena), HostTransport(), ResidentAdapters(arena.block_rows)
    speculation = Speculation(drafter, arena, branching=False) if drafter is not None else None
    general = Executor(model, backend, slots, limits.block_tokens, adapters=resident, speculation=speculation)
    state = DeviceState(slots, limits.total_blocks, transport)
    steps = Steps(model, backend, state, transport, limits.block_tokens, resident)
    return DeviceExecutor(general, slots, steps, Decodes(steps, Eagerly(), limits.max_running_requests))


def slots_of(limits: EngineLimits) -> SlotTable:
    return SlotTable(limits.max_running_requests, limits.max_model_tokens, limits.block_tokens, ())


def engine_around(executor: Executes, limits: EngineLimits) -> tuple[Engine, CheckedSchedulerCore]:
    torch.set_num_threads(1)
    core = CheckedSchedulerCore(limits, LatencyModel(FLAT))
    times = itertools.count()
    engine = Engine(
        identity=Identity("w", "m", 320),
        new_core=lambda: core,
        executor=executor,
        metrics=WorkerMetrics("m"),
        progress=Progress(30.0),
        clock=lambda: next(times) * 1e-3,
    )
    engine.handle(GatewayJoined(1))
    return engine, core


def serve(executor: Executes, samplings: list[Sampling], limits: EngineLimits) -> dict[str, list[int]]:
    """Serve a request of each sampling, one more every other step, and return their tokens."""
    engine, _ = engine_around(executor, limits)
    waiting = list(enumerate(samplings))
    got: dict[str, list[int]] = {}
    for step in itertools.count():
        if waiting and step % 2 == 0:
            index, sampling = waiting.pop(0)
            prompt = tuple(np.random.default_rng(index).integers(5, 250, 3 + 5 * index).tolist())
            engine.handle(Submitted(1, Submit(f"r{index}", 1, prompt, sampling)))
        if not engine.busy and not waiting:
            return got
        for item in engine.step() if engine.busy else ():
            for batch in item.frame.tokens:
                assert batch.finish_reason != "failed", batch.error
                got.setdefault(batch.request_id, []).extend(batch.token_ids)
    raise AssertionError
