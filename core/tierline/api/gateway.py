"""The front door of a fleet, as an LLMFleet declares it."""

from typing import Annotated, ClassVar

from pydantic import Field

from tierline.api.block import Block, Rule
from tierline.api.fields import SECRET_KEY, FleetName, ListOf, ObjectName

STORE_URL = r"^rediss?://[^\s]+$"


class PasswordSecretRef(Block):
    """A key of a Secret in the fleet's own namespace that holds the store's password."""

    name: ObjectName = Field(description="name is the name of the Secret, in the same namespace.")
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=SECRET_KEY)] = Field(
        description="key is the entry of the Secret that holds the password."
    )


class StateStore(Block):
    """Where gateways share what tenants got and how much of their quotas is used: a Redis or Valkey server."""

    url: Annotated[str, Field(min_length=1, max_length=512, pattern=STORE_URL)] = Field(
        description="url is the store's URL, like redis://redis:6379/0; a user may be named in it."
    )
    password_secret_ref: PasswordSecretRef | None = Field(
        default=None, description="passwordSecretRef names the Secret with the store's password."
    )


class StoredAnswers(Block):
    """Where requests are kept whose answers come later: those with `Prefer: respond-async`, files and batches."""

    claim_name: ObjectName | None = Field(
        default=None,
        description="claimName is a PersistentVolumeClaim in the fleet's namespace; without it what is kept ends with "
        "the gateway's pod, or is in the stateStore.",
    )
    max_mebibytes: Annotated[int, Field(ge=64, le=1_048_576)] = Field(
        default=2048, description="maxMebibytes bounds what all tenants keep together; 2048 by default."
    )


class Gateway(Block):
    """The front door of the fleet."""

    replicas: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1,
        description="replicas is the number of gateway pods; 0 where only other fleets' gateways serve this one.",
    )
    processes: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1,
        description="processes is the number of gateway processes in each pod, each with a core; 1 by default.",
    )
    fleet_refs: Annotated[tuple[FleetName, ...], Field(max_length=16), ListOf()] = Field(
        default=(),
        description="fleetRefs are other LLMFleets of the namespace that this gateway serves, too, each by its model.",
    )
    state_store: StateStore | None = Field(
        default=None,
        description="stateStore is what gateways share; without it each pod keeps fairness and quotas by itself.",
    )
    stored_answers: StoredAnswers = Field(
        default_factory=StoredAnswers,
        description="storedAnswers is where requests are kept whose answers come later, and how much of them.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="storedAnswers.claimName",
            message="serves one pod: set replicas to 1, or let a stateStore keep the answers.",
            cel=(
                "!has(self.storedAnswers) || !has(self.storedAnswers.claimName)"
                " || !has(self.replicas) || self.replicas <= 1"
            ),
            holds=lambda it: it.stored_answers.claim_name is None or it.replicas <= 1,
        ),
    )
