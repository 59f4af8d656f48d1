"""What every resource has: metadata, and a status with conditions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from tierline.api.block import Block
from tierline.api.crd_shape import Shape
from tierline.api.fields import SAFE_INT_MAX, Counter, ListOf

MESSAGE_LIMIT = 4096
ConditionStatus = Literal["True", "False", "Unknown"]


def _rfc3339(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time zone is missing")
    return text


Moment = Annotated[str, AfterValidator(_rfc3339), Field(json_schema_extra={"format": "date-time"}, max_length=64)]
"""A moment in RFC 3339 form, kept as its text."""


class ObjectMeta(Block):
    """The part of an object's metadata that Tierline reads; the API server owns its schema."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class Condition(Block):
    """One statement about an object's state, in the form that kubectl wait, Argo and Flux understand."""

    type: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z]*$")] = Field(
        description="type of the condition, one CamelCase word such as Ready."
    )
    status: ConditionStatus = Field(description="status of the condition: True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$")] = Field(
        description="reason for the status, one CamelCase word for programs."
    )
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = Field(description="message is a sentence for humans.")
    last_transition_time: Moment = Field(
        description="lastTransitionTime is when the status last changed, in RFC 3339 form."
    )
    observed_generation: Annotated[int, Field(ge=0, le=SAFE_INT_MAX)] = Field(
        default=0, description="observedGeneration is the generation of the spec that this condition speaks of."
    )


class Status(Block):
    """What Tierline observed; written only when its meaning changes."""

    observed_generation: Annotated[int, Field(ge=0, le=SAFE_INT_MAX)] = Field(
        default=0, description="observedGeneration is the generation of the spec that this status speaks of."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListOf(("type",))] = Field(
        default=(), description="conditions sum up the state; Ready is the one that says whether all is well."
    )


class ReplicaCount(Block):
    """A count that status reports for something that runs in several copies."""

    ready_replicas: Counter = Field(default=0, description="readyReplicas is the number of replicas that serve.")


class Resource(Block):
    """The frame of a resource: its kind's name, how it appears to kubectl, and its metadata."""

    kind_name: ClassVar[str]
    shape: ClassVar[Shape]
    metadata: ObjectMeta
