"""Values that may be unknowable, and how they look in a JSON document.

A number that cannot be known (too few samples, hardware that does not tell) is `Unknown` with a reason. In a document
it becomes null under its own key, with the reason beside it under `<key>_reason`: a reader never mistakes "not
measured" for "zero".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be measured, and why."""

    reason: str


Measured = float | int | Unknown

_DECIMALS = 4


def to_document(value: Any) -> Any:
    """Return dataclasses and mappings as plain JSON values; `Unknown` becomes null with its reason beside it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _flatten({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return _flatten(value)
    if isinstance(value, float):
        return round(value, _DECIMALS)
    return value


def _flatten(members: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in members.items():
        if isinstance(value, Unknown):
            document[key] = None
            document[f"{key}_reason"] = value.reason
        else:
            document[key] = to_document(value)
    return document
