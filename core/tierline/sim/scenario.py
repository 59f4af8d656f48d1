"""What a simulation is given: a YAML file with tiers, tenants, workers, traffic and faults.

Tiers are written as the spec of an `SLOTier`, and compiled as the gateway does it, so that defaults are the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import ConfigDict, Field, ValidationError

from tierline.api.block import Block, Rule
from tierline.api.parsing import field_problems
from tierline.api.problems import FieldProblem
from tierline.api.quota import Limits
from tierline.api.serving import Engine
from tierline.api.tier import SLOTierSpec
from tierline.sim.presets import PRESETS

Name = Annotated[str, Field(min_length=1, max_length=63)]
Milliseconds = Annotated[float, Field(ge=0)]
Scale = Annotated[float, Field(gt=0)]


class InvalidScenario(ValueError):
    """A scenario that cannot be run; the message names the file and every field to put right."""


class Section(Block):
    """A part of a scenario; unlike a resource it refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")


class TierSection(Section):
    """One tier: its name and the spec of its `SLOTier`."""

    name: Name
    spec: SLOTierSpec


class TenantSection(Section):
    """One tenant's share and limits, named as in a `TenantQuota`."""

    name: Name
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    limits: Limits = Limits()
    max_service_difference_tokens: Annotated[int, Field(ge=1)] | None = None


class LatencySection(Section):
    """What the device takes: per iteration, prefill token, attention pair, decoding row and KV token read.

    Iterations vary by `noisePercent` about that.
    """

    iteration_ms: Milliseconds
    prefill_token_ms: Milliseconds
    attention_pair_ms: Milliseconds
    decode_ms: Milliseconds
    kv_token_ms: Milliseconds
    noise_percent: Annotated[float, Field(ge=0, le=100)] = 0.0

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="iterationMs",
            message="must be above 0: an iteration takes time.",
            cel="self.iterationMs > 0",
            holds=lambda it: it.iteration_ms > 0,
        ),
    )


class WorkersSection(Section):
    """How many workers there are, all alike."""

    count: Annotated[int, Field(ge=1, le=1000)]
    engine: Engine
    latency: LatencySection


class TrafficSection(Section):
    """One source of requests: a preset at a rate, a recorded CSV, or a trace that gateways recorded.

    Without a tenant or a tier each CSV row names its own; a trace's rows name both.

    A preset is sent from `startSeconds` to `endSeconds`. `maxTokens` is the longest answer that clients ask for;
    without it schedulers know the length of each answer, which real ones do not.
    """

    tier: Name | None = None
    tenant: Name | None = None
    preset: str | None = None
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    prompt_scale: Scale = 1.0
    output_scale: Scale = 1.0
    prompt_tokens: Annotated[int, Field(ge=1)] | None = None
    output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    start_seconds: Annotated[float, Field(ge=0)] = 0.0
    end_seconds: Annotated[float, Field(gt=0)] | None = None
    csv: str | None = None
    trace: str | None = None
    from_seconds: Annotated[float, Field(ge=0)] = 0.0
    speed: Scale = 1.0

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "preset",
            "or csv or trace is required, and only one of them.",
            "",
            lambda it: [it.preset, it.csv, it.trace].count(None) == 2,
        ),
        Rule(
            "preset",
            f"must be one of {', '.join(sorted(PRESETS))}.",
            "",
            lambda it: it.preset is None or it.preset in PRESETS,
        ),
        Rule(
            "requestsPerSecond",
            "is required with preset, and only then (a csv has its own times; see speed).",
            "",
            lambda it: (it.preset is None) == (it.requests_per_second is None),
        ),
        Rule(
            "endSeconds",
            "must be after startSeconds.",
            "",
            lambda it: it.end_seconds is None or it.end_seconds > it.start_seconds,
        ),
        Rule(
            "maxTokens",
            "must not be below outputTokens.",
            "",
            lambda it: it.max_tokens is None or it.output_tokens is None or it.max_tokens >= it.output_tokens,
        ),
        Rule(
            "csv",
            "and trace cannot be combined with maxTokens, startSeconds or endSeconds (see fromSeconds).",
            "",
            lambda it: it.preset is not None or (it.max_tokens, it.start_seconds, it.end_seconds) == (None, 0.0, None),
        ),
        Rule("tenant", "is required with preset.", "", lambda it: it.preset is None or it.tenant is not None),
        Rule(
            "tier",
            "is required with preset; the rows of a trace name their own, and their tenant.",
            "",
            lambda it: (it.preset is None or it.tier is not None) and (it.trace is None or not (it.tier or it.tenant)),
        ),
    )


class FaultSection(Section):
    """What happens to a worker, counted from 0: it is gone at a moment without notice, its device takes `factor` times
    as long for a while, or nothing of it is heard for a while although it computes on."""

    worker: Annotated[int, Field(ge=0)]
    lost_at_seconds: Annotated[float, Field(ge=0)] | None = None
    slow_from_seconds: Annotated[float, Field(ge=0)] | None = None
    silent_from_seconds: Annotated[float, Field(ge=0)] | None = None
    until_seconds: Annotated[float, Field(gt=0)] | None = None
    factor: Annotated[float, Field(ge=1, le=1000)] = 2.0

    @property
    def began_seconds(self) -> tuple[float, ...]:
        begins = (self.lost_at_seconds, self.slow_from_seconds, self.silent_from_seconds)
        return tuple(begin for begin in begins if begin is not None)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "lostAtSeconds",
            "or slowFromSeconds or silentFromSeconds is required, and only one of them.",
            "",
            lambda it: len(it.began_seconds) == 1,
        ),
        Rule(
            "untilSeconds",
            "is required after slowFromSeconds or silentFromSeconds, later than it, and not with lostAtSeconds.",
            "",
            lambda it: (
                it.lost_at_seconds is not None
                if it.until_seconds is None
                else it.lost_at_seconds is None and it.until_seconds > max(it.began_seconds, default=0.0)
            ),
        ),
    )


class Scenario(Section):
    """A whole scenario; `seconds` is how long requests arrive."""

    name: Name
    description: str = ""
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    seed: Annotated[int, Field(ge=0)] = 1
    tiers: Annotated[tuple[TierSection, ...], Field(min_length=1)]
    tenants: Annotated[tuple[TenantSection, ...], Field(min_length=1)]
    workers: WorkersSection
    traffic: Annotated[tuple[TrafficSection, ...], Field(min_length=1)]
    faults: Annotated[tuple[FaultSection, ...], Field(max_length=100)] = ()


def load_scenario(path: Path) -> Scenario:
    """Read a scenario; paths of recordings in it are relative to it. Raises `InvalidScenario`."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidScenario(f"{path} cannot be read: {error}") from error
    return parse_scenario(document, str(path))


def parse_scenario(document: Any, title: str) -> Scenario:
    """Check a scenario; raises `InvalidScenario` that lists every field to put right."""
    try:
        scenario = Scenario.model_validate_json(json.dumps(document, default=str), by_alias=True, by_name=False)
    except ValidationError as error:
        raise _invalid(title, field_problems(error)) from None
    problems = tuple(_broken_references(scenario))
    if problems:
        raise _invalid(title, problems)
    return scenario


def _invalid(title: str, problems: tuple[FieldProblem, ...]) -> InvalidScenario:
    return InvalidScenario(f"{title} is no scenario: {'; '.join(str(problem) for problem in problems)}.")


def _broken_references(scenario: Scenario) -> Iterator[FieldProblem]:
    tiers = [tier.name for tier in scenario.tiers]
    tenants = [tenant.name for tenant in scenario.tenants]
    for kind, names in (("tiers", tiers), ("tenants", tenants)):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield FieldProblem(f"{kind}[{index}].name", f"{name!r} is there twice: remove one")
    for index, source in enumerate(scenario.traffic):
        if source.tier is not None and source.tier not in tiers:
            yield FieldProblem(f"traffic[{index}].tier", f"{source.tier!r} is not among tiers: {', '.join(tiers)}")
        if source.tenant is not None and source.tenant not in tenants:
            listed = ", ".join(tenants)
            yield FieldProblem(f"traffic[{index}].tenant", f"{source.tenant!r} is not among tenants: {listed}")
    lost = [fault.worker if fault.lost_at_seconds is not None else None for fault in scenario.faults]
    for index, fault in enumerate(scenario.faults):
        if fault.worker >= scenario.workers.count:
            last = scenario.workers.count - 1
            yield FieldProblem(f"faults[{index}].worker", f"must be at most {last}, there are no more workers")
        if fault.lost_at_seconds is not None and fault.worker in lost[:index]:
            yield FieldProblem(f"faults[{index}].lostAtSeconds", "is said of a worker that was lost before: remove one")
