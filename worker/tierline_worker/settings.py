"""The worker's settings, read once from the environment that the operator gives to its pod."""

import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tierline.api.names import WORKER_HTTP_PORT, WORKER_WIRE_PORT
from tierline.artifacts import WeightsStore, default_cache_dir
from tierline_worker.errors import SettingsError

QUANTIZATIONS = ("None", "Int8", "Int4")
_MOST_CACHE_TOKENS = 10_485_760
DTYPES = {"Float32": torch.float32, "BFloat16": torch.bfloat16, "Float16": torch.float16}


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker serves and how large it is; `kv_cache_blocks` 0 means all that a GPU has memory for.

    `node_keeps_weights` says that `cache_dir` is the node's, so that what was fetched outlives this worker.
    """

    model_source: str
    model_name: str
    dtype: torch.dtype
    kv_cache_blocks: int
    block_tokens: int
    max_running_requests: int
    max_batched_tokens: int
    max_model_tokens: int
    threads: int
    drain_seconds: int
    stall_seconds: int
    bind_host: str
    wire_port: int
    http_port: int
    worker_id: str
    cache_dir: Path
    termination_log: Path | None
    quantization: str = "None"
    draft_source: str = ""
    prefix_caching: bool = True
    host_cache_blocks: int = 0
    disk_cache_blocks: int = 0
    disk_cache_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    max_draft_tokens: int = 4
    slice_tokens: int = 128
    max_adapters: int = 0
    max_adapter_rank: int = 64
    adapters: tuple[tuple[str, str], ...] = ()
    adapter_sources: tuple[str, ...] = ()
    tensor_parallel: int = 1
    device: str = "auto"
    weights_limit_mebibytes: int = 0
    node_keeps_weights: bool = False

    @property
    def weights(self) -> WeightsStore:
        """Where models and adapters are kept once they were fetched."""
        return WeightsStore(self.cache_dir, self.weights_limit_mebibytes << 20)

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> "WorkerSettings":
        """Parse `environ`; raises `SettingsError` naming the variable and its legal range."""
        read = _Reader(environ)
        source = read.text("TIERLINE_MODEL_SOURCE", "")
        if not source:
            raise SettingsError("TIERLINE_MODEL_SOURCE is not set: set it to the fleet's model.source")
        blocks = read.integer("TIERLINE_KV_CACHE_BLOCKS", 1024, 0, 10_000_000)
        block_tokens = read.integer("TIERLINE_BLOCK_TOKENS", 16, 1, 512)
        cache_tokens = blocks * block_tokens or _MOST_CACHE_TOKENS
        settings = WorkerSettings(
            model_source=source,
            model_name=read.text("TIERLINE_MODEL_NAME", source),
            dtype=read.dtype("TIERLINE_MODEL_DTYPE", "Float32"),
            kv_cache_blocks=blocks,
            block_tokens=block_tokens,
            max_running_requests=read.integer("TIERLINE_MAX_RUNNING_REQUESTS", 32, 1, 65_536),
            max_batched_tokens=read.integer("TIERLINE_MAX_BATCHED_TOKENS", 512, 1, 1_048_576),
            max_model_tokens=read.integer("TIERLINE_MAX_MODEL_TOKENS", min(8192, cache_tokens), 2, cache_tokens),
            threads=read.integer("TIERLINE_THREADS", 1, 1, 512),
            drain_seconds=read.integer("TIERLINE_DRAIN_SECONDS", 30, 0, 86_400),
            stall_seconds=read.integer("TIERLINE_STALL_SECONDS", 30, 1, 3_600),
            bind_host=read.text("TIERLINE_BIND_HOST", "0.0.0.0"),  # noqa: S104 a pod's address is its own
            wire_port=read.integer("TIERLINE_WIRE_PORT", WORKER_WIRE_PORT, 1, 65_535),
            http_port=read.integer("TIERLINE_HTTP_PORT", WORKER_HTTP_PORT, 1, 65_535),
            worker_id=read.text("POD_NAME", "worker"),
            cache_dir=Path(read.text("TIERLINE_WEIGHTS_DIR", str(default_cache_dir(environ)))),
            termination_log=termination_log(environ),
            quantization=read.choice("TIERLINE_MODEL_QUANTIZATION", "None", QUANTIZATIONS),
            draft_source=read.text("TIERLINE_DRAFT_SOURCE", ""),
            prefix_caching=read.choice("TIERLINE_PREFIX_CACHING", "Enabled", ("Enabled", "Disabled")) == "Enabled",
            host_cache_blocks=read.integer("TIERLINE_HOST_CACHE_BLOCKS", 0, 0, 10_000_000),
            disk_cache_blocks=read.integer("TIERLINE_DISK_CACHE_BLOCKS", 0, 0, 10_000_000),
            disk_cache_dir=Path(read.text("TIERLINE_DISK_CACHE_DIR", tempfile.gettempdir())),
            max_draft_tokens=read.integer("TIERLINE_MAX_DRAFT_TOKENS", 4, 0, 16),
            slice_tokens=read.integer("TIERLINE_SLICE_TOKENS", 128, 1, 65_536),
            max_adapters=read.integer("TIERLINE_MAX_ADAPTERS", 0, 0, 1024),
            max_adapter_rank=read.integer("TIERLINE_MAX_ADAPTER_RANK", 64, 1, 512),
            adapters=read.pairs("TIERLINE_ADAPTERS"),
            adapter_sources=read.sources("TIERLINE_ADAPTER_SOURCES"),
            tensor_parallel=read.integer("TIERLINE_TENSOR_PARALLEL", 1, 1, 16),
            device=read.device("TIERLINE_DEVICE", "auto"),
            node_keeps_weights=bool(read.text("TIERLINE_WEIGHTS_DIR", "")),
            weights_limit_mebibytes=read.integer("TIERLINE_WEIGHTS_LIMIT_MEBIBYTES", 0, 0, 1 << 30),
        )
        return _consistent(settings)


def termination_log(environ: Mapping[str, str]) -> Path | None:
    """Return where a pod's last words go, None when nowhere but to stderr."""
    path = environ.get("TIERLINE_TERMINATION_LOG", "")
    return Path(path) if path else None


def _consistent(settings: WorkerSettings) -> WorkerSettings:
    if settings.kv_cache_blocks == 1:
        raise SettingsError("TIERLINE_KV_CACHE_BLOCKS is 1: set it to 2 or more, or to 0 for all that fit on a GPU")
    if settings.max_batched_tokens < settings.max_running_requests:
        raise SettingsError(
            f"TIERLINE_MAX_BATCHED_TOKENS is {settings.max_batched_tokens}: "
            f"set it to TIERLINE_MAX_RUNNING_REQUESTS ({settings.max_running_requests}) or more"
        )
    if settings.adapters and not settings.max_adapters:
        raise SettingsError("TIERLINE_ADAPTERS is set, but TIERLINE_MAX_ADAPTERS is 0: set the latter above 0")
    if settings.tensor_parallel > 1:
        _refuse_beside_tensor_parallelism(settings)
    return settings


def _refuse_beside_tensor_parallelism(settings: WorkerSettings) -> None:
    """What moves or computes numbers outside of the plans that all ranks execute would let them drift apart."""
    beside = {
        "TIERLINE_MAX_ADAPTERS": settings.max_adapters,
        "TIERLINE_DRAFT_SOURCE": settings.draft_source,
        "TIERLINE_HOST_CACHE_BLOCKS": settings.host_cache_blocks,
        "TIERLINE_DISK_CACHE_BLOCKS": settings.disk_cache_blocks,
    }
    for name, value in beside.items():
        if value:
            raise SettingsError(
                f"{name} is {value} and TIERLINE_TENSOR_PARALLEL {settings.tensor_parallel}, which do not go together: "
                f"unset {name} or set TIERLINE_TENSOR_PARALLEL to 1"
            )


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, "").strip() or default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise SettingsError(f"{name} is {raw!r}: set it to an integer from {low} to {high}")
        return value

    def choice(self, name: str, default: str, choices: Collection[str]) -> str:
        raw = self.text(name, default)
        if raw not in choices:
            raise SettingsError(f"{name} is {raw!r}: set it to one of {', '.join(choices)}")
        return raw

    def device(self, name: str, default: str) -> str:
        raw = self.text(name, default)
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", raw):
            raise SettingsError(f"{name} is {raw!r}: set it to auto, cpu, cuda or cuda:N")
        return raw

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Read `name=source` entries, separated by commas."""
        entries = [entry.strip() for entry in self.text(name, "").split(",") if entry.strip()]
        pairs = [(key.strip(), value.strip()) for key, _, value in (entry.partition("=") for entry in entries)]
        if any(not key or not value for key, value in pairs) or len({key for key, _ in pairs}) < len(pairs):
            raise SettingsError(f"{name} is {self.text(name, '')!r}: list name=source, each name once, with commas")
        return tuple(pairs)

    def sources(self, name: str) -> tuple[str, ...]:
        """Read allowed sources: absolute folders and beginnings of hub sources, separated by commas."""
        entries = tuple(entry.strip() for entry in self.text(name, "").split(",") if entry.strip())
        for entry in entries:
            if not entry.startswith(("/", "hf://")):
                raise SettingsError(f"{name} holds {entry!r}: list absolute folders and hf://ORG/ with commas")
        return entries

    def dtype(self, name: str, default: str) -> torch.dtype:
        return DTYPES[self.choice(name, default, DTYPES)]
