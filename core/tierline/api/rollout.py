"""How a change reaches the workers of a fleet, and how far it has come."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tierline.api.block import Block, Rule
from tierline.api.fields import Percent
from tierline.api.meta import MESSAGE_LIMIT, Moment

DEFAULT_MAX_SURGE = 1
DEFAULT_MAX_UNAVAILABLE = 0
DEFAULT_HOLD_SECONDS = 60
DEFAULT_PROGRESS_DEADLINE_SECONDS = 600
DEFAULT_MIN_REQUESTS = 20

RevisionName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]*$")]
Gate = Literal["Canary", "HoldTime", "Analysis", "Rollback"]


class Analysis(Block):
    """What a canary's requests must show before the other workers follow."""

    min_requests: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=DEFAULT_MIN_REQUESTS,
        description=(
            "minRequests is how many requests canaries must have ended before they are trusted; 0 asks for none."
        ),
    )


class Rollout(Block):
    """How a change reaches the workers."""

    canary_percent: Percent | None = Field(
        default=None,
        description="canaryPercent is the share of workers that try a change first (none when left out), in percent.",
    )
    max_surge: Annotated[int, Field(ge=0, le=100)] = Field(
        default=DEFAULT_MAX_SURGE, description="maxSurge is how many workers there may be too many meanwhile."
    )
    max_unavailable: Annotated[int, Field(ge=0, le=100)] = Field(
        default=DEFAULT_MAX_UNAVAILABLE,
        description="maxUnavailable is how many workers fewer than wanted may serve meanwhile.",
    )
    hold_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=DEFAULT_HOLD_SECONDS,
        description="holdSeconds is how long canaries must have served before the others follow, in seconds.",
    )
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = Field(
        default=DEFAULT_PROGRESS_DEADLINE_SECONDS,
        description=(
            "progressDeadlineSeconds is how long canaries may be not ready before the change is taken back, in seconds."
        ),
    )
    analysis: Analysis = Field(
        default_factory=Analysis, description="analysis says what canaries must show before the others follow."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            field="maxUnavailable",
            message="must be at least 1 when maxSurge is 0: otherwise no worker could ever be replaced.",
            cel=("!has(self.maxSurge) || self.maxSurge > 0 || (has(self.maxUnavailable) && self.maxUnavailable > 0)"),
            holds=lambda it: it.max_surge > 0 or it.max_unavailable > 0,
        ),
    )


class RolloutHold(Block):
    """Why a change goes no further now."""

    gate: Gate = Field(description="gate is what the change waits at.")
    reason: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$")] = Field(
        description="reason is why the gate is closed, one CamelCase word for programs."
    )
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = Field(description="message is a sentence for humans.")
    since: Moment = Field(description="since is when the change came to the gate, in RFC 3339 form.")


class RolloutStatus(Block):
    """How far a change has come; recorded before anything is done about it."""

    stable_revision: RevisionName = Field(
        default="", description="stableRevision is the revision that is known to serve."
    )
    target_revision: RevisionName = Field(
        default="", description="targetRevision is the revision that the workers are being changed to."
    )
    promoted_revision: RevisionName = Field(
        default="", description="promotedRevision is the revision whose canaries have passed."
    )
    rejected_revision: RevisionName = Field(
        default="", description="rejectedRevision is the revision that was taken back."
    )
    rejection: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = Field(
        default="", description="rejection says why the rejected revision was taken back."
    )
    canaries_ready: Literal["True", "False"] = Field(
        default="False", description="canariesReady says whether all canaries were ready when last looked at."
    )
    canaries_since: Moment | None = Field(
        default=None, description="canariesSince is since when that is so, in RFC 3339 form."
    )
    hold: RolloutHold | None = Field(default=None, description="hold says why the change goes no further now.")
