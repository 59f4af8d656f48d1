"""The cases: what each one loads an engine with, what it measures, and with what else it compares ours.

Prompts are drawn anew for each repetition, from the case's name and the number of the repetition: no engine finds an
earlier one in its prefix cache, and all contestants get the same.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from tierline.bench.protocol import Done, Load, Setup, Stream
from tierline_cli.bench.figures import Figures, prefill, tail_beside_a_long_prompt, throughput

WINDOW_TOKENS = 8192
TARGET_OVER_IDLE = 2.0
ADAPTERS = 16
ADAPTER_RANK = 8


@dataclass(frozen=True, slots=True)
class Draw:
    """What a load is made from: token ids to choose from, how large it is (1 is full size), and what repetition."""

    name: str
    repetition: int
    vocabulary: range
    scale: float

    def tokens(self, count: int) -> int:
        return max(int(count * self.scale), 4)

    def prompts(self, streams: int, tokens: int, part: str = "") -> list[tuple[int, ...]]:
        """Return random prompts; those of another `part` of the load share nothing with them."""
        choose = random.Random(f"{self.name}/{part}/{self.repetition}")  # noqa: S311 prompts, no secrets
        return [tuple(choose.choices(self.vocabulary, k=self.tokens(tokens))) for _ in range(streams)]


@dataclass(frozen=True, slots=True)
class Variant:
    """Ours again with something changed, to compare with: fields of every stream, and of the setup."""

    stream: Mapping[str, Any] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """A load and its figures. `headline` is the figure that ratios compare; `setup` is what differs from the common
    one, `adapters` how many it names.

    A case that `is_calibrated` gives its streams a budget per token of `TARGET_OVER_IDLE` times what they take alone.
    """

    name: str
    load: Callable[[Draw], Load]
    figures: Callable[[Load, Done], Figures]
    headline: str
    higher_is_better: bool = True
    setup: Mapping[str, Any] = field(default_factory=dict)
    adapters: int = 0
    variants: Mapping[str, Variant] = field(default_factory=dict)
    is_calibrated: bool = False

    def setup_from(self, common: Setup, scale: float) -> Setup:
        """Return the setup of this case; what is counted in KV tokens shrinks with the load, and the window with it."""
        changes = dict(self.setup)
        for name in ("kv_tokens", "host_tokens"):
            if name in changes:
                changes[name] = max(int(changes[name] * scale), 64)
        window = min(common.max_model_tokens, changes.get("kv_tokens", common.kv_tokens))
        return msgspec.structs.replace(common, max_model_tokens=window, **changes)


def _same(streams: int, prompt_tokens: int, new_tokens: int) -> Callable[[Draw], Load]:
    def load(draw: Draw) -> Load:
        prompts = draw.prompts(streams, prompt_tokens)
        new = draw.tokens(new_tokens) if new_tokens > 1 else 1
        return Load(tuple(Stream(prompt, new) for prompt in prompts))

    return load


def _mixed(draw: Draw) -> Load:
    prompts = draw.prompts(8, 128)
    (long,) = draw.prompts(1, 7000, "long")
    running = tuple(Stream(prompt, draw.tokens(1024)) for prompt in prompts)
    last = Stream(long, 2, starts_after_tokens=draw.tokens(32))
    return Load((*running, last), ends_with=len(running))


def _shared_prefix(draw: Draw) -> Load:
    (prefix,), tails = draw.prompts(1, 1024, "prefix"), draw.prompts(16, 64, "tails")
    return Load(tuple(Stream((*prefix, *tail), draw.tokens(32)) for tail in tails))


def _adapters(draw: Draw) -> Load:
    prompts = draw.prompts(ADAPTERS, 64)
    return Load(tuple(Stream(prompt, draw.tokens(64), adapter=index) for index, prompt in enumerate(prompts)))


def _repeating(draw: Draw) -> Load:
    """Prompts that say the same few words again and again, which a lookup in the context continues well."""
    phrases = draw.prompts(4, 32)
    return Load(tuple(Stream(phrase * 8, draw.tokens(128), speculate=True) for phrase in phrases))


def _unpredictable(draw: Draw) -> Load:
    streams = _same(4, 256, 128)(draw).streams
    return Load(tuple(msgspec.structs.replace(stream, speculate=True) for stream in streams))


_TOKENS = "output_tokens_per_second"
_NO_SPECULATION = MappingProxyType({"no-speculation": Variant({"speculate": False}, {"max_draft_tokens": 0})})
_SPECULATING = MappingProxyType({"max_draft_tokens": 4})
# Half of what 16 streams of 256 and 256 tokens need.
_HALF = MappingProxyType({"kv_tokens": 4096, "host_tokens": 16_384})

CASES: Mapping[str, Case] = {
    case.name: case
    for case in (
        Case("single", _same(1, 128, 128), throughput, _TOKENS),
        Case("batch32", _same(32, 256, 128), throughput, _TOKENS),
        Case("prefill", _same(4, 1500, 1), prefill, "prompt_tokens_per_second"),
        Case("mixed", _mixed, tail_beside_a_long_prompt, "tpot_p99_ms", False, is_calibrated=True),
        Case("shared_prefix", _shared_prefix, throughput, _TOKENS),
        Case(
            "adapters16",
            _adapters,
            throughput,
            _TOKENS,
            setup={"adapter_rank": ADAPTER_RANK},
            adapters=ADAPTERS,
            variants={"base-model": Variant({"adapter": -1}, {"adapters": ()})},
        ),
        Case(
            "kv_pressure",
            _same(16, 256, 256),
            throughput,
            _TOKENS,
            setup=_HALF,
            variants={"recompute": Variant({"save": "Recompute"}, {"host_tokens": 0})},
        ),
        Case("speculation", _repeating, throughput, _TOKENS, setup=_SPECULATING, variants=_NO_SPECULATION),
        Case("speculation_adverse", _unpredictable, throughput, _TOKENS, setup=_SPECULATING, variants=_NO_SPECULATION),
    )
}
