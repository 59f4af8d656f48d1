"""Field types that mean the same to pydantic and to the API server."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.alias_generators import to_snake
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

DUPLICATE = "duplicate_items"
"""Type of the validation error for a list that names one thing twice."""

INT32_MAX = 2**31 - 1
SAFE_INT_MAX = 2**53 - 1
"""Largest bound that the API server, which keeps bounds as floating point, stores exactly."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SECRET_KEY = r"^[-._a-zA-Z0-9]+$"  # noqa: S105 - the form of a key's name, not a secret
QUANTITY = r"^([0-9]+|[0-9]+\.[0-9]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
IDENTIFIER = r"^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$"


@dataclass(frozen=True)
class ListOf:
    """Marks a tuple as a Kubernetes list: a map keyed by fields of its items, or a set when no key is given.

    The server refuses duplicates of such lists; so does the model. An `atomic` one is written as a whole, and may hold
    the same thing twice.
    """

    keys: tuple[str, ...] = ()
    atomic: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        items = core_schema.no_info_before_validator_function(_from_list, handler(source))
        if self.atomic:
            return items
        return core_schema.no_info_after_validator_function(self._without_duplicates, items)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if not self.keys:
            return {**schema, "x-kubernetes-list-type": "atomic" if self.atomic else "set"}
        return {**schema, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.keys)}

    def _without_duplicates(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: set[Hashable] = set()
        for identity in self._identities(items):
            if identity in seen:
                raise PydanticCustomError(DUPLICATE, "duplicate", {"identity": str(identity)})
            seen.add(identity)
        return items

    def _identities(self, items: tuple[Any, ...]) -> Iterator[Hashable]:
        for item in items:
            if not self.keys:
                yield item
            else:
                yield "/".join(str(getattr(item, to_snake(key))) for key in self.keys)


def _from_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _quantity_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


FLEET_NAME_LIMIT = 40
"""So that `<fleet>-<pool>` and `<fleet>-gateway` are legal names of pods and Services (63 characters)."""
FLEET_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

FleetName = Annotated[str, Field(min_length=1, max_length=FLEET_NAME_LIMIT, pattern=FLEET_NAME)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
ShortName = Annotated[str, Field(min_length=1, max_length=20, pattern=DNS_LABEL)]
Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=IDENTIFIER)]
Positive = Annotated[int, Field(ge=1, le=INT32_MAX)]
Counter = Annotated[int, Field(ge=0, le=INT32_MAX)]
Percent = Annotated[int, Field(ge=1, le=100)]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity_text),
    Field(min_length=1, max_length=32, pattern=QUANTITY),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 32, "minLength": 1, "pattern": QUANTITY}),
]
"""A Kubernetes quantity such as `500m` or `2Gi`; a bare integer is taken as its text."""
