"""Published workload statistics as generator presets.

Lengths are lognormal, fitted to the median and the 90th percentile of a trace and cut off at its limit; arrivals are a
gamma renewal process with the trace's coefficient of variation (1 is Poisson). Sources: Azure LLM inference traces
2023 (Patel et al., "Splitwise", ISCA 2024), LMSYS Chatbot Arena log of 27 tenants (Sheng et al., OSDI 2024), Mooncake
conversation trace (Qin et al., FAST 2025).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_Z90 = 1.2815515655446004
"""The standard normal distribution's 90th percentile."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts: lognormal with median `p50` and 90th percentile `p90`, at most `limit`."""

    p50: float
    p90: float
    limit: int

    @property
    def mu(self) -> float:
        return math.log(self.p50)

    @property
    def sigma(self) -> float:
        return math.log(self.p90 / self.p50) / _Z90


@dataclass(frozen=True, slots=True)
class TrafficPreset:
    """One trace: lengths of prompts and outputs, and how bursty its arrivals are."""

    name: str
    prompt_tokens: Lengths
    output_tokens: Lengths
    arrival_cv: float


AZURE_CONVERSATION = TrafficPreset("azure-conversation", Lengths(1020, 2734, 4142), Lengths(129, 424, 1000), 1.09)
AZURE_CODE = TrafficPreset("azure-code", Lengths(1469, 5187, 7436), Lengths(13, 55, 600), 13.15)
LMSYS_CHAT = TrafficPreset("lmsys-chat", Lengths(40, 432, 1024), Lengths(211, 513, 1024), 1.0)
MOONCAKE_CONVERSATION = TrafficPreset(
    "mooncake-conversation", Lengths(6909, 27_367, 126_000), Lengths(350, 597, 2000), 1.0
)

PRESETS: Mapping[str, TrafficPreset] = MappingProxyType(
    {preset.name: preset for preset in (AZURE_CONVERSATION, AZURE_CODE, LMSYS_CHAT, MOONCAKE_CONVERSATION)}
)


def fixed_lengths(preset: TrafficPreset, prompt_tokens: int | None, output_tokens: int | None) -> TrafficPreset:
    """Return the preset with every prompt or output of one length, where one is given."""
    prompts = Lengths(prompt_tokens, prompt_tokens, prompt_tokens) if prompt_tokens else preset.prompt_tokens
    outputs = Lengths(output_tokens, output_tokens, output_tokens) if output_tokens else preset.output_tokens
    return TrafficPreset(preset.name, prompts, outputs, preset.arrival_cv)
