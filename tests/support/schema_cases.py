"""Accepted and refused values for every constraint of a structural schema, derived from the schema itself."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from resource_samples import SAMPLES

from tierline.api.crd import custom_resource_definition
from tierline.api.kinds import KINDS

Path = tuple[str | int, ...]
Schema = dict[str, Any]
MISSING = object()
WRONG_TYPE = {"string": 7, "integer": "seven", "object": "an object", "array": "a list"}


@dataclass(frozen=True)
class SchemaCase:
    """The sample of `kind` with `value` at `path`: to be accepted or refused because of `constraint`."""

    kind: str
    path: Path
    constraint: str
    value: Any
    accepted: bool

    def __str__(self) -> str:
        verdict = "accepted" if self.accepted else "refused"
        return f"{self.kind}-{dotted(self.path)}-{self.constraint}-{verdict}"

    def build(self) -> dict[str, Any]:
        return replaced(SAMPLES[self.kind], self.path, self.value)


def dotted(path: Path) -> str:
    """Write a path as our problems do: `spec.pools[0].role`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")


def at(obj: Any, path: Path) -> Any:
    for step in path:
        obj = obj[step]
    return obj


def replaced(obj: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return a copy of `obj` with `value` at `path`, or without the field when it is MISSING."""
    changed = copy.deepcopy(obj)
    parent = at(changed, path[:-1])
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


@cache
def schema_of(kind: str) -> Schema:
    """Return the schema of a kind; all callers read the same one."""
    crd = custom_resource_definition(KINDS[kind])
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Every field below `schema` except metadata; entries of a list as its first entry."""
    for name, inner in schema.get("properties", {}).items():
        if (*path, name) != ("metadata",):
            yield (*path, name), inner
            yield from fields(inner, (*path, name))
    if "items" in schema:
        yield (*path, 0), schema["items"]
        yield from fields(schema["items"], (*path, 0))


def longer(value: str, length: int) -> str:
    return value + value[-1] * (length - len(value))


def several(item: Any, count: int, keys: list[str]) -> list[Any]:
    """Return `count` different entries made from one."""
    if isinstance(item, str):
        return [item + "a" * index for index in range(count)]
    if isinstance(item, int):
        return [item + index for index in range(count)]
    return [{**item, keys[0]: item[keys[0]] + "a" * index} for index in range(count)]


Values = Callable[[Any, Any, Schema], list[tuple[Any, bool]]]
CONSTRAINTS: dict[str, Values] = {
    "type": lambda bound, sample, _: [(sample, True), (WRONG_TYPE[bound], False)],
    "enum": lambda bound, *_: [*((value, True) for value in bound), ("Nonsense", False)],
    "minimum": lambda bound, *_: [(bound, True), (bound - 1, False)],
    "maximum": lambda bound, *_: [(bound, True), (bound + 1, False)],
    "minLength": lambda bound, sample, _: [(sample, True), ("", False)],
    "maxLength": lambda bound, sample, _: [(sample, True), (longer(sample, bound + 1), False)],
    "pattern": lambda bound, sample, _: [(sample, True), ("not matching!", False)],
    "format": lambda bound, sample, _: [(sample, True), ("yesterday", False)],
    "minItems": lambda bound, sample, _: [(sample[:bound], True), (sample[: bound - 1], False)],
    "maxItems": lambda bound, sample, schema: [
        (several(sample[0], bound, schema.get("x-kubernetes-list-map-keys", [])), True),
        (several(sample[0], bound + 1, schema.get("x-kubernetes-list-map-keys", [])), False),
    ],
    "x-kubernetes-list-type": lambda bound, sample, _: [(sample, True), ([sample[0], sample[0]], bound == "atomic")],
    "x-kubernetes-int-or-string": lambda *_: [(2, True), ("2", True), ([], False)],
}
NOT_CONSTRAINTS = {
    "description",
    "items",
    "properties",
    "required",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


def schema_cases(kind: str) -> Iterator[SchemaCase]:
    """Every constraint of a kind, with values on both of its sides."""
    root = schema_of(kind)
    for path, schema in [((), root), *fields(root)]:
        for name in schema.get("required", ()):
            yield SchemaCase(kind, (*path, name), "required", MISSING, accepted=False)
        for constraint in schema.keys() - NOT_CONSTRAINTS if path else ():
            sample = at(SAMPLES[kind], path)
            for value, accepted in CONSTRAINTS[constraint](schema[constraint], sample, schema):
                yield SchemaCase(kind, path, constraint, value, accepted)


def all_schema_cases() -> list[SchemaCase]:
    cases = [case for kind in SAMPLES for case in schema_cases(kind)]
    return sorted(cases, key=str)
