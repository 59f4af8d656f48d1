"""pydantic's JSON schema turned into a structural schema, in the form in which the API server stores it.

Kubernetes knows no references, no `const`, no `anyOf` with null; titles, defaults and `nullable` would make the stored
object differ from the shipped one for ever. What cannot be translated is refused, so nothing is lost in silence.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tierline.api.fields import INT32_MAX

Schema = dict[str, Any]

_DROPPED = frozenset({"title", "default", "additionalProperties", "$defs"})
_KEPT = frozenset(
    {
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "maxItems",
        "maxLength",
        "minimum",
        "minItems",
        "minLength",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    }
)


class UnsupportedSchema(ValueError):
    """A model uses something that a structural schema cannot say; the message names the field."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the schema of `model` with everything in place; raises `UnsupportedSchema`."""
    schema = model.model_json_schema(by_alias=True)
    return _translate(schema, schema.get("$defs", {}), model.__name__)


def _translate(schema: Mapping[str, Any], definitions: Mapping[str, Schema], path: str) -> Schema:
    flat = _in_place(schema, definitions, path)
    if "const" in flat:
        flat["enum"] = [flat.pop("const")]
    unknown = sorted(flat.keys() - _KEPT - _DROPPED)
    if unknown:
        raise UnsupportedSchema(f"{path}: a structural schema cannot say {', '.join(unknown)}")
    kept = {key: value for key, value in flat.items() if key in _KEPT}
    if kept.get("type") == "integer":
        kept["format"] = "int32" if kept.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
    if "items" in kept:
        kept["items"] = _translate(kept["items"], definitions, f"{path}[]")
    if "properties" in kept:
        kept["properties"] = {
            name: _translate(inner, definitions, f"{path}.{name}") for name, inner in kept["properties"].items()
        }
    if "required" in kept:
        kept["required"] = sorted(kept["required"])
    return kept


def _in_place(schema: Mapping[str, Any], definitions: Mapping[str, Schema], path: str) -> Schema:
    """Replace a reference, or an optional's `anyOf`, by what it stands for; keys beside it win."""
    flat = dict(schema)
    while "$ref" in flat or "anyOf" in flat:
        target = definitions[flat.pop("$ref").rpartition("/")[2]] if "$ref" in flat else _optional(flat, path)
        flat = {**target, **flat}
    return flat


def _optional(flat: Schema, path: str) -> Schema:
    choices = [choice for choice in flat.pop("anyOf") if choice != {"type": "null"}]
    if len(choices) != 1:
        raise UnsupportedSchema(f"{path}: a field must have one type, not {len(choices)}")
    return dict(choices[0])
