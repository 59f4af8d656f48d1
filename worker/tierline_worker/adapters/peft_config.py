"""What a PEFT `adapter_config.json` says, and what of it cannot be served.

A setting that changes the computation and is not implemented is refused by name: ignored, it would give wrong text.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline_worker.errors import AdapterError

_FIX = "train it without this setting, or merge it into the model"
_MUST_BE_EMPTY = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "modules_to_save",
    "fan_in_fan_out",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "megatron_config",
)
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that change the model's own weights: without those the adapter's mean something else."""


@dataclass(frozen=True, slots=True)
class LoRAConfig:
    """Ranks and scales. Patterns are pairs (regular expression on a module's name, value), as PEFT matches them."""

    rank: int
    alpha: float
    rank_stabilised: bool
    rank_pattern: tuple[tuple[str, int], ...] = ()
    alpha_pattern: tuple[tuple[str, float], ...] = ()

    def rank_of(self, module: str) -> int:
        """Return the rank of a module, its full name being like `model.layers.0.self_attn.q_proj`."""
        return int(_matched(self.rank_pattern, module, self.rank))

    def scale_of(self, module: str) -> float:
        """Return what multiplies B·A: alpha / rank, or alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732)."""
        rank, alpha = self.rank_of(module), float(_matched(self.alpha_pattern, module, self.alpha))
        return alpha / math.sqrt(rank) if self.rank_stabilised else alpha / rank


def lora_config(raw: Mapping[str, Any], source: Path, max_rank: int) -> LoRAConfig:
    """Return a parsed `adapter_config.json`; raises `AdapterError` naming the key that cannot be served."""
    if raw.get("peft_type") != "LORA":
        raise _refused(source, f"peft_type is {raw.get('peft_type')!r}", "only LORA is served")
    _refuse_unsupported(raw, source)
    ranks = _pattern(raw, "rank_pattern", source)
    config = LoRAConfig(
        rank=_number(raw, "r", source, int),
        alpha=_number(raw, "lora_alpha", source, float),
        rank_stabilised=bool(raw.get("use_rslora")),
        rank_pattern=tuple((name, int(value)) for name, value in ranks),
        alpha_pattern=_pattern(raw, "alpha_pattern", source),
    )
    for rank in (config.rank, *(rank for _, rank in config.rank_pattern)):
        if not 1 <= rank <= max_rank:
            problem = f"a rank of {rank}, this worker serves 1 to {max_rank}"
            raise _refused(source, problem, "raise TIERLINE_MAX_ADAPTER_RANK (engine.maxAdapterRank)")
    return config


def _refuse_unsupported(raw: Mapping[str, Any], source: Path) -> None:
    for key in _MUST_BE_EMPTY:
        if raw.get(key):
            raise _refused(source, f"sets {key}, which is not supported", _FIX)
    if raw.get("bias", "none") != "none":
        raise _refused(source, f"sets bias to {raw['bias']!r}, which is not supported", _FIX)
    initial = raw.get("init_lora_weights", True)
    if isinstance(initial, str) and initial.lower().startswith(_CHANGED_BASE):
        fix = "save it with PEFT's path_initial_model_for_weight_conversion"
        raise _refused(source, f"sets init_lora_weights to {initial!r}, which changed the model's own weights", fix)


def _number(raw: Mapping[str, Any], key: str, source: Path, kind: type[Any]) -> Any:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(source, f"{key} is {value!r}", "set it to a number")
    return kind(value)


def _pattern(raw: Mapping[str, Any], key: str, source: Path) -> tuple[tuple[str, float], ...]:
    pattern = raw.get(key) or {}
    try:
        for expression in pattern:
            re.compile(expression)
        return tuple((str(expression), float(value)) for expression, value in pattern.items())
    except (AttributeError, TypeError, ValueError, re.error) as error:
        raise _refused(source, f"{key} is not readable ({error})", "map expressions to numbers") from error


def _matched(pattern: tuple[tuple[str, float], ...], module: str, default: float) -> float:
    for expression, value in pattern:
        if re.fullmatch(rf"(.*\.)?({expression})", module):
            return value
    return default


def _refused(source: Path, problem: str, fix: str) -> AdapterError:
    return AdapterError(source, f"adapter_config.json: {problem}", fix)
