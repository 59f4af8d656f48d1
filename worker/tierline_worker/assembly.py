"""Puts a worker's engine together: model, KV arena, executor, warm-up, scheduling core."""

import contextlib
import gc
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from tierline.artifacts import OpenedWeights, open_weights, resolve_adapter
from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel, Roofline
from tierline.scheduling.memory.offload import OffloadModel
from tierline.scheduling.memory.prefix_keys import SECRET_BYTES, KeySpace
from tierline.scheduling.plans import BatchPlan, EngineLimits
from tierline.text.load import load_tokenizer
from tierline.wire.frames import Sampling
from tierline_worker.adapters.catalog import AdapterCatalog
from tierline_worker.adapters.loading import AdapterFormat, name_problem
from tierline_worker.adapters.resident import ResidentAdapters
from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.device.choice import attention_maker, choose_device, executor_builder
from tierline_worker.device.memory import bytes_of_block, cache_blocks
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.flights import Executes
from tierline_worker.engine.health import Progress
from tierline_worker.engine.isolation import is_out_of_memory
from tierline_worker.errors import AdapterError, SettingsError
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.metrics import DeviceFacts, WorkerMetrics
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.decoder import Decoder
from tierline_worker.model.load import load_model
from tierline_worker.parallel.shard import Sharding
from tierline_worker.sampling.grammars import Grammars
from tierline_worker.settings import WorkerSettings
from tierline_worker.slots import SlotLoad, SlotTable
from tierline_worker.speculation.building import build_speculation, load_draft_model
from tierline_worker.tiers.opening import calibrate, open_tiers
from tierline_worker.tiers.tiers import KVTiers

_LOG = logging.getLogger(__name__)
_WARM_UP_TOKENS = 64
_GEMM_SHARE_OF_PEAK = 0.6


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to execute plans within `limits`; with tensor parallelism `model` is rank 0's part.

    `weights` are the files it was read from: nobody evicts them while they are held.
    """

    model: Decoder
    executor: Executes
    limits: EngineLimits
    adapters: AdapterCatalog
    adapter_format: AdapterFormat
    grammars: Grammars
    tiers: KVTiers
    weights: OpenedWeights
    draft: Decoder | None = None


def load(settings: WorkerSettings, sharding: Sharding | None = None) -> Loaded:
    """Fetch and load the model, or with `sharding` one rank's part of it, and allocate its KV arena.

    Raises `ModelSourceError` or `ModelError` for the model, `SettingsError` when the arena does not fit,
    `AdapterSourceError` or `AdapterError` for the adapters to begin with.
    """
    torch.set_num_threads(max(1, settings.threads // settings.tensor_parallel))
    device = choose_device(settings.device, sharding.rank if sharding else 0)
    if settings.tensor_parallel > 1:
        # Drafts are proposed and verified by one process.
        settings = replace(settings, max_draft_tokens=0)
    weights = open_weights(settings.model_source, settings.weights)
    path = weights.path
    how = (settings.dtype, settings.max_model_tokens, settings.quantization)
    model = load_model(path, *how, device, sharding=sharding)
    _LOG.info("the weights take %.1f MB on %s", model.weight_bytes / 1e6, device)
    arena = _allocate(model.config, settings, device)
    limits = _limits(settings, model.config, arena)
    ends = model.config.eos_token_ids
    grammars = Grammars(lambda: load_tokenizer(path), model.config.vocab_size, ends)
    slots = SlotTable(limits.max_running_requests, limits.max_model_tokens, limits.block_tokens, ends, grammars)
    tiers = open_tiers(settings, arena.pages)
    resident = ResidentAdapters(arena.block_rows)
    fits = AdapterFormat(model.config, arena.block_rows.shape[1], arena.pages.dtype, settings.max_adapter_rank)
    catalog = _first_adapters(settings, fits, resident)
    draft = load_draft_model(settings, model, path)
    speculation = build_speculation(settings, draft, slots, arena, attention_maker(device))

    def general(attention: AttentionBackend) -> Executor:
        blocks = limits.block_tokens
        return Executor(model, attention, slots, blocks, adapters=resident, speculation=speculation, tiers=tiers)

    executor = executor_builder(device, lock_step=sharding is not None)(model, arena, slots, general)
    return Loaded(model, executor, limits, catalog, fits, grammars, tiers, weights, draft)


def _first_adapters(settings: WorkerSettings, fits: AdapterFormat, resident: ResidentAdapters) -> AdapterCatalog:
    """Read the adapters that the pod's environment names; whoever wrote that may name any source."""
    catalog = AdapterCatalog(resident.offered)
    for name, source in settings.adapters:
        if problem := name_problem(name, settings.model_name):
            raise AdapterError(name, f"in TIERLINE_ADAPTERS, {problem}", "correct it")
        with contextlib.closing(resolve_adapter(source, settings.weights)) as opened:
            catalog.offer(name, fits.read(opened.path))
    return catalog


def build_engine(
    settings: WorkerSettings,
    loaded: Loaded,
    metrics: WorkerMetrics,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> Engine:
    """Warm the executor up and return the engine around it; `clock` gives seconds."""
    roofline = warm_up(loaded)
    latency = LatencyModel(roofline.coefficients())
    offload = calibrate(loaded.tiers, loaded.limits)
    metrics.describe(DeviceFacts(loaded.model.embedding.device, settings.dtype, roofline))
    metrics.watch_tiers(loaded.tiers.moved)
    # After the warm-up, whose times it would disturb, and before anyone asks.
    loaded.grammars.prepare()
    # What lives until the end need not be looked at by the collector again.
    gc.collect()
    gc.freeze()
    return Engine(
        identity=Identity(settings.worker_id, settings.model_name, loaded.model.config.vocab_size),
        new_core=_core_maker(loaded.limits, latency, offload),
        executor=loaded.executor,
        metrics=metrics,
        progress=progress,
        clock=clock,
        adapters=loaded.adapters,
        keys=_key_space(settings) if loaded.limits.prefix_caching else None,
        tiers=loaded.tiers,
    )


def warm_up(loaded: Loaded) -> Roofline:
    """Compute a prompt and a few decodes, so that the first request finds every kernel made; return what they took.

    A prompt that does not fit into the memory is halved. Raises `SettingsError` when not even a token fits.
    """
    tokens = min(_WARM_UP_TOKENS, loaded.limits.max_model_tokens - 1, loaded.limits.max_batched_tokens)
    while True:
        try:
            prompt_s, decode_s = _warm_up_seconds(loaded, tokens)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if tokens == 1:
                raise SettingsError(
                    f"the memory does not hold one token's computation beside the model and "
                    f"{loaded.limits.total_blocks} blocks of KV: lower TIERLINE_KV_CACHE_BLOCKS "
                    "(engine.kvCacheBlocks) or give the worker more memory"
                ) from error
            _LOG.warning("%d tokens at once are too much for the memory: warming up with fewer", tokens)
            tokens //= 2
        else:
            draft_bytes = loaded.draft.weight_bytes if loaded.draft else 0.0
            return _roofline(loaded.model, prompt_s / tokens, decode_s, draft_bytes)


def _warm_up_seconds(loaded: Loaded, tokens: int) -> tuple[float, float]:
    """Return the seconds of a prompt and of the decode behind it."""
    blocks = -(-(tokens + 1) // loaded.limits.block_tokens)
    updates = np.array([(0, index, index) for index in range(blocks)], dtype=np.int32)
    prompt = _single_row_plan(start=0, count=tokens, updates=updates)
    decode = _single_row_plan(start=tokens, count=1, updates=updates)
    loaded.executor.apply(prompt, [SlotLoad(0, [0] * tokens, Sampling(max_tokens=2))])
    return _fastest(loaded.executor, prompt), _fastest(loaded.executor, decode)


def _core_maker(limits: EngineLimits, latency: LatencyModel, offload: OffloadModel) -> Callable[[], SchedulerCore]:
    return lambda: SchedulerCore(limits, latency, offload=offload)


def _limits(settings: WorkerSettings, config: ModelConfig, arena: KVArena) -> EngineLimits:
    total_blocks = arena.blocks - _padding_blocks(arena.pages.device)
    if settings.max_model_tokens > config.max_positions:
        _LOG.warning(
            "TIERLINE_MAX_MODEL_TOKENS is %d, the model reaches %d: using the latter",
            settings.max_model_tokens,
            config.max_positions,
        )
    return EngineLimits(
        max_running_requests=settings.max_running_requests,
        max_batched_tokens=settings.max_batched_tokens,
        max_model_tokens=min(settings.max_model_tokens, config.max_positions, total_blocks * settings.block_tokens),
        block_tokens=settings.block_tokens,
        total_blocks=total_blocks,
        max_adapters=settings.max_adapters,
        prefix_caching=settings.prefix_caching,
        max_draft_tokens=settings.max_draft_tokens,
        slice_tokens=settings.slice_tokens,
        host_blocks=settings.host_cache_blocks,
        disk_blocks=settings.disk_cache_blocks,
    )


def _key_space(settings: WorkerSettings) -> KeySpace:
    """Return the names of this process's blocks; its secret dies with it, as its cache does."""
    revision = f"{settings.model_source} {settings.dtype} {settings.quantization}"
    return KeySpace(secrets.token_bytes(SECRET_BYTES), revision, settings.block_tokens)


def _allocate(config: ModelConfig, settings: WorkerSettings, device: torch.device) -> KVArena:
    block_bytes = bytes_of_block(config, settings.block_tokens, settings.dtype)
    blocks = cache_blocks(settings.kv_cache_blocks, block_bytes, device)
    try:
        return KVArena.allocate(config, blocks + _padding_blocks(device), settings.block_tokens, settings.dtype, device)
    except RuntimeError as error:
        raise SettingsError(
            f"TIERLINE_KV_CACHE_BLOCKS is {settings.kv_cache_blocks}: the memory does not hold so many blocks, lower it"
        ) from error


def _padding_blocks(device: torch.device) -> int:
    """Return how many blocks no request gets: a GPU's batches are padded with rows that write to one of their own."""
    return 0 if device.type == "cpu" else 1


def _fastest(executor: Executes, plan: BatchPlan) -> float:
    """Return the seconds of the faster of two runs; the first makes kernels."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        executor.launch(plan)()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _parameters(config: ModelConfig) -> float:
    attention = (2 * config.heads + 2 * config.kv_heads) * config.head_dim * config.hidden_size
    mlp = 3 * config.hidden_size * config.intermediate_size
    return config.layers * (attention + mlp) + config.vocab_size * config.hidden_size


def _roofline(model: Decoder, prompt_token_s: float, decode_s: float, draft_weight_bytes: float) -> Roofline:
    config, item = model.config, model.dtype.itemsize
    parameters = _parameters(config)
    return Roofline(
        parameters=parameters,
        weight_bytes=model.weight_bytes,
        kv_bytes_per_token=2 * config.layers * config.kv_heads * config.head_dim * item,
        layers=config.layers,
        hidden=config.heads * config.head_dim,
        flops_per_second=2 * parameters / prompt_token_s / _GEMM_SHARE_OF_PEAK,
        bytes_per_second=model.weight_bytes / decode_s,
        overhead_ms=0.0,
        draft_weight_bytes=draft_weight_bytes,
    )


def _single_row_plan(start: int, count: int, updates: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]") -> BatchPlan:
    one = np.ones(1, dtype=np.int32)
    return BatchPlan(0, one * 0, one * start, one * count, np.ones(1, dtype=np.bool_), updates, decodes=int(count == 1))
