"""Reads how a model's rotary embeddings are scaled, from a `config.json` and from a GGUF's fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline_worker.errors import ModelError
from tierline_worker.model.rope_scaling import LinearScaling, Llama3Scaling, YarnScaling

_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
_YARN = ("factor", "original_max_position_embeddings")
_NOT_OF_YARN = ("mscale", "mscale_all_dim")
_GGUF_PREFIX = "rope.scaling."
_GGUF_KNOWN = {"type", "factor", "original_context_length", "finetuned"}


@dataclass(frozen=True, slots=True)
class ScaledRope:
    """What `ModelConfig` wants to know; `positions` is how far the scaling reaches, 0 where it does not say."""

    divisors: tuple[float, ...] = ()
    magnitude: float = 1.0
    positions: int = 0


def json_rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a `config.json` that is about rotary embeddings, by its new or its old name."""
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def json_rope_type(raw: Mapping[str, Any]) -> str:
    return json_rope(raw).get("rope_type") or json_rope(raw).get("type") or "default"


def rope_from_json(raw: Mapping[str, Any], head_dim: int, theta: float, source: Path) -> ScaledRope:
    """Return the scaling of a `config.json` of a known type; raises `ModelError` naming what is missing."""
    rope = json_rope(raw)
    match json_rope_type(raw):
        case "linear":
            (factor,) = _numbers(rope, ("factor",), source)
            return ScaledRope(LinearScaling(factor).divisors(head_dim, theta))
        case "llama3":
            return ScaledRope(Llama3Scaling(*_numbers(rope, _LLAMA3, source)).divisors(head_dim, theta))
        case "yarn":
            return _yarn(rope, head_dim, theta, source)
    return ScaledRope()


def rope_from_gguf(fields: Mapping[str, Any], head_dim: int, theta: float, source: Path) -> ScaledRope:
    """Return the scaling that a GGUF's fields (without its architecture's name) say; raises `ModelError`."""
    kind = fields.get(f"{_GGUF_PREFIX}type", "none")
    if kind == "none":
        return ScaledRope()
    own = {name.removeprefix(_GGUF_PREFIX): fields[name] for name in fields if name.startswith(_GGUF_PREFIX)}
    if kind not in ("linear", "yarn") or own.keys() - _GGUF_KNOWN:
        what = ", ".join(f"{_GGUF_PREFIX}{name}" for name in sorted(own.keys() - _GGUF_KNOWN)) or "that type"
        problem = f"its rope scaling {kind!r} with {what} is not supported"
        raise ModelError(source, problem, "use another model")
    return rope_from_json({"rope_scaling": _as_json(own, kind)}, head_dim, theta, source)


def _as_json(own: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    trained = own.get("original_context_length")
    return {"rope_type": kind, "factor": own.get("factor"), "original_max_position_embeddings": trained}


def _yarn(rope: Mapping[str, Any], head_dim: int, theta: float, source: Path) -> ScaledRope:
    factor, trained = _numbers(rope, _YARN, source)
    other = [name for name in _NOT_OF_YARN if rope.get(name)] + ["truncate"] * (rope.get("truncate", True) is not True)
    if other:
        raise ModelError(
            source, f"its rope scaling sets {', '.join(other)}, which is not supported", "use another model"
        )
    scaling = YarnScaling(factor, trained, float(rope.get("beta_fast") or 32), float(rope.get("beta_slow") or 1))
    magnitude = rope.get("attention_factor")
    return ScaledRope(
        scaling.divisors(head_dim, theta),
        scaling.attention_factor if magnitude is None else float(magnitude),
        int(factor * trained),
    )


def _numbers(rope: Mapping[str, Any], names: tuple[str, ...], source: Path) -> tuple[float, ...]:
    missing = [name for name in names if not isinstance(rope.get(name), int | float) or rope[name] <= 0]
    if missing:
        raise ModelError(source, f"its rope scaling has no number for {', '.join(missing)}", "fetch the model again")
    return tuple(float(rope[name]) for name in names)
