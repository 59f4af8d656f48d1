"""The base of every resource model: strict, frozen, camelCase outside, with its rules declared beside its fields.

A rule is written twice in one place: as CEL, which the API server runs, and as a Python predicate, which we run
where the server has no CEL. Both are held against the same table of cases by the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

RULES_BROKEN = "rules_broken"
"""Type of the validation error whose context lists `(field, message)` of every broken rule."""


@dataclass(frozen=True)
class Rule:
    """What must hold within one object; `field` is the path to blame, relative to the model that declares it."""

    field: str
    message: str
    cel: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Transition:
    """What must hold between an object and its update; `holds` takes the new and the old model."""

    field: str
    message: str
    cel: str
    holds: Callable[[Any, Any], bool]


class Block(BaseModel):
    """One object of a resource's schema. Unknown fields are ignored: a newer schema may be installed already."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    transitions: ClassVar[tuple[Transition, ...]] = ()

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        broken = [(rule.field, rule.message) for rule in self.rules if not rule.holds(self)]
        if broken:
            raise PydanticCustomError(RULES_BROKEN, "breaks a rule", {"broken": broken})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        declared: tuple[Rule | Transition, ...] = (*cls.rules, *cls.transitions)
        if declared:
            schema["x-kubernetes-validations"] = [
                {"message": f"{entry.field} {entry.message}", "rule": entry.cel} for entry in declared
            ]
        return schema
