"""From what the API server (or a file) holds to a model, or to a list of what to put right."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tierline.api.block import RULES_BROKEN
from tierline.api.fields import DUPLICATE
from tierline.api.meta import Resource
from tierline.api.problems import FieldProblem, InvalidResource

R = TypeVar("R", bound=Resource)

_MESSAGES: Mapping[str, str] = {
    "missing": "is required.",
    "extra_forbidden": "is not known here: remove or rename it.",
    "literal_error": "must be {expected}, not {input!r}.",
    "greater_than_equal": "must be at least {ge}, not {input}.",
    "less_than_equal": "must be at most {le}, not {input}.",
    "int_type": "must be an integer, not {input!r}.",
    "string_type": "must be a string, not {input!r}.",
    "string_pattern_mismatch": "must match {pattern}, not {input!r}.",
    "string_too_short": "must not be shorter than {min_length} characters.",
    "string_too_long": "must not be longer than {max_length} characters.",
    "too_short": "must have at least {min_length} entries, not {actual_length}.",
    "too_long": "must have at most {max_length} entries, not {actual_length}.",
    "tuple_type": "must be a list, not {input!r}.",
    "model_type": "must be an object, not {input!r}.",
    DUPLICATE: "names {identity} twice: remove one.",
}


def parse(kind_model: type[R], obj: Mapping[str, Any]) -> R:
    """Return the resource; raises `InvalidResource` that lists every field to put right."""
    try:
        return kind_model.model_validate(dict(obj), by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidResource(_title(kind_model, obj), field_problems(error)) from None


def transition_problems(new: Resource, old: Resource) -> tuple[FieldProblem, ...]:
    """Say what an update changes that must stay; empty when the update is allowed."""
    return tuple(_changes(new, old, ""))


def _title(kind_model: type[Resource], obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    path = [str(named[part]) for part in ("namespace", "name") if named.get(part)]
    return f"{kind_model.kind_name} {'/'.join(path) or '(without a name)'}"


def field_problems(error: ValidationError) -> tuple[FieldProblem, ...]:
    """Return what a failed validation means in the words of the fields."""
    return tuple(_problems(error))


def _problems(error: ValidationError) -> Iterator[FieldProblem]:
    details = error.errors(include_url=False)
    for detail in details:
        if _follows_from_another(detail, details):
            continue
        path = _path(detail["loc"])
        if detail["type"] == RULES_BROKEN:
            for field, message in detail["ctx"]["broken"]:
                yield FieldProblem(_join(path, field), message.rstrip("."))
        else:
            yield FieldProblem(path or "the object", _message(detail).rstrip("."))


def _follows_from_another(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """A list whose entries are wrong is also reported as too short, since wrong entries do not count."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in details
    )


def _message(detail: ErrorDetails) -> str:
    template = _MESSAGES.get(detail["type"])
    if template is None:
        return f"is wrong: {detail['msg']}."
    return template.format(**{**detail.get("ctx", {}), "input": detail["input"]})


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for step in loc:
        path = f"{path}[{step}]" if isinstance(step, int) else _join(path, step)
    return path


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path else field


def _changes(new: BaseModel, old: BaseModel, path: str) -> Iterator[FieldProblem]:
    for rule in getattr(new, "transitions", ()):
        if not rule.holds(new, old):
            yield FieldProblem(_join(path, rule.field), rule.message.rstrip("."))
    for name, info in type(new).model_fields.items():
        here = _join(path, info.alias or name)
        for step, after, before in _pairs(getattr(new, name), getattr(old, name)):
            yield from _changes(after, before, f"{here}{step}")


def _pairs(new: Any, old: Any) -> Iterator[tuple[str, BaseModel, BaseModel]]:
    """Models on both sides that are one thing: the field itself, or entries of a list with the same name."""
    if isinstance(new, BaseModel) and isinstance(old, BaseModel):
        yield "", new, old
    elif isinstance(new, tuple) and isinstance(old, tuple):
        former = {getattr(item, "name", None): item for item in old if isinstance(item, BaseModel)}
        for index, item in enumerate(new):
            if isinstance(item, BaseModel) and getattr(item, "name", None) in former:
                yield f"[{index}]", item, former[getattr(item, "name", None)]
