"""A whole engine around a tiny model and a drafter, and what its requests get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from device_testing import device_around

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.latency import Coefficients, LatencyModel
from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Iteration, Sampling, Submit
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.flights import Executes
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.model.decoder import Decoder
from tierline_worker.model.load import load_model
from tierline_worker.sampling.draw import draw_tokens
from tierline_worker.slots import SlotTable
from tierline_worker.speculation.draft_cache import DraftCache
from tierline_worker.speculation.draft_model import ModelDrafter
from tierline_worker.speculation.drafter import Drafter, DraftRows
from tierline_worker.speculation.speculation import Speculation

LIMITS = EngineLimits(
    max_running_requests=5,
    max_batched_tokens=24,
    max_model_tokens=160,
    block_tokens=4,
    total_blocks=160,
    max_draft_tokens=4,
)

Answer = tuple[tuple[int, ...], str]


@dataclass(frozen=True)
class Run:
    """What each request got and why it ended, what the core counted, and how often it parked a request."""

    answers: list[Answer]
    counters: EngineCounters
    preempted: int


MakeDrafter = Callable[[SlotTable], Drafter]


class Eager:
    """Estimates under which every row drafts all it may, so that a test does not hang on the policy."""

    def start(self, slot: int) -> None: ...

    def rates(self, slots: np.ndarray) -> np.ndarray:
        return np.full(len(slots), 0.95)

    def stable(self, slots: np.ndarray) -> np.ndarray:
        return np.ones(len(slots), np.bool_)

    def observe(self, *_: np.ndarray) -> None: ...


@dataclass
class Told:
    """A drafter that is told the answers: its first continuation is wrong from a place on, the second right."""

    answers: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    def forget(self, slot: int) -> None: ...

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        return [self._continuations(tuple(rows.text(row).tolist()), wanted) for row, wanted in enumerate(rows.wanted)]

    def _continuations(self, text: tuple[int, ...], wanted: int) -> list[Sequence[int]]:
        for prompt, answer in self.answers.items():
            if text[: len(prompt)] == prompt and text[len(prompt) :] == answer[: len(text) - len(prompt)]:
                right = answer[len(text) - len(prompt) :][:wanted]
                wrong = len(text) % (wanted + 1)
                return [(*right[:wrong], *((token + 1) % 250 for token in right[wrong:])), right]
        return []


class Adversary:
    """A drafter that is always wrong, or as good as always."""

    def forget(self, slot: int) -> None: ...

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        return [[[7] * int(wanted)] for wanted in rows.wanted]


def model_drafter(path: Path) -> MakeDrafter:
    def make(slots: SlotTable) -> Drafter:
        model = load_model(path, torch.float32)
        arena = KVArena.allocate(model.config, 60, 4, torch.float32)
        cache = DraftCache(len(slots.tokens), 160, 60, 4)
        return ModelDrafter(
            model,
            CPUAttention(arena),
            cache,
            4,
            lambda logits, rows, positions: draw_tokens(logits, slots.sampling.draw_rows(rows, positions)),
        )

    return make


def answers(
    path: Path,
    requests: Sequence[tuple[Sequence[int], Sampling]],
    drafter: MakeDrafter | None = None,
    *,
    limits: EngineLimits = LIMITS,
    dtype: torch.dtype = torch.float32,
    on_device: bool = False,
) -> Run:
    """Run all requests at once; `on_device` by the executor for devices, whose drafts are chains."""
    torch.set_num_threads(1)
    model = load_model(path, dtype)
    slots = SlotTable(
        limits.max_running_requests, limits.max_model_tokens, limits.block_tokens, model.config.eos_token_ids
    )
    proposes = drafter(slots) if drafter is not None else None
    executor = (device_around if on_device else _on_cpu)(model, slots, limits, drafter=proposes)
    core = CheckedSchedulerCore(limits, LatencyModel(Coefficients(20.0, 1.0, 0.0, 0.0, 0.0, 0.01)))
    assert core.drafting is not None
    core.drafting.acceptance = Eager()  # type: ignore[assignment]
    engine = Engine(
        identity=Identity("w", "m", model.config.vocab_size),
        new_core=lambda: core,
        executor=executor,
        metrics=WorkerMetrics("m"),
        progress=Progress(30.0),
        clock=_Clock(),
    )
    parked, park = [], core.preemptor.park
    core.preemptor.park = lambda *args, **kwargs: (parked.append(args), park(*args, **kwargs))  # type: ignore
    return Run(_run(engine, requests, speculate=drafter is not None), core.counters, len(parked))


def _on_cpu(model: Decoder, slots: SlotTable, limits: EngineLimits, drafter: Drafter | None) -> Executes:
    arena = KVArena.allocate(model.config, limits.total_blocks, limits.block_tokens, model.dtype)
    speculation = Speculation(drafter, arena, branching=True) if drafter is not None else None
    return Executor(model, CPUAttention(arena), slots, limits.block_tokens, speculation=speculation)


def _run(engine: Engine, requests: Sequence[tuple[Sequence[int], Sampling]], speculate: bool) -> list[Answer]:
    engine.handle(GatewayJoined(1))
    for number, (prompt, sampling) in enumerate(requests):
        refused = engine.handle(Submitted(1, Submit(f"r{number}", 1, tuple(prompt), sampling, speculate=speculate)))
        assert not refused, refused
    tokens: list[list[int]] = [[] for _ in requests]
    reasons = [""] * len(requests)
    while engine.busy:
        for outgoing in engine.step():
            assert isinstance(outgoing.frame, Iteration)
            for batch in outgoing.frame.tokens:
                number = int(batch.request_id[1:])
                assert batch.first_position == len(tokens[number])
                assert not reasons[number]
                tokens[number] += batch.token_ids
                reasons[number] = batch.finish_reason
    return [(tuple(ids), reason) for ids, reason in zip(tokens, reasons, strict=True)]


class _Clock:
    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += 0.001
        return self._now_s
