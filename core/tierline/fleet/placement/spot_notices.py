"""The one table of notices that a node is about to be reclaimed, and the deadline that each of them means.

Providers announce a reclaim in their own way: a taint of their termination handler, a node condition, a deletion
of the node object that waits for a finalizer. The planners know only the deadline.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tierline.api.names import TAINT_SPOT_NOTICE
from tierline.fleet.observed import ObservedNode

_LATEST_EPOCH_S = 100_000_000_000


class Sign(Enum):
    """Where on the node a notice is read."""

    TAINT = "taint"
    CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class SpotNotice:
    """One provider's notice. `lead_ms` is the time that remains from the moment the notice is first seen.

    Where the taint's value is itself the deadline in epoch seconds, `value_is_deadline` says so.
    """

    provider: str
    sign: Sign
    key: str
    lead_ms: int
    value_is_deadline: bool = False


SPOT_NOTICES: tuple[SpotNotice, ...] = (
    SpotNotice("Tierline", Sign.TAINT, TAINT_SPOT_NOTICE, 30_000, value_is_deadline=True),
    SpotNotice("AWS node termination handler", Sign.TAINT, "aws-node-termination-handler/spot-itn", 120_000),
    SpotNotice(
        "AWS node termination handler", Sign.TAINT, "aws-node-termination-handler/asg-lifecycle-termination", 120_000
    ),
    SpotNotice("Karpenter", Sign.TAINT, "karpenter.sh/disrupted", 120_000),
    SpotNotice("Karpenter before v1", Sign.TAINT, "karpenter.sh/disruption", 120_000),
    SpotNotice("GKE", Sign.TAINT, "cloud.google.com/impending-node-termination", 25_000),
    SpotNotice("AKS", Sign.CONDITION, "PreemptScheduled", 30_000),
    SpotNotice("AKS", Sign.CONDITION, "TerminateScheduled", 30_000),
)

NODE_DELETION_LEAD_MS = 120_000
"""Time given to a node that is being deleted and still waits for a finalizer: the shortest of the big clouds' notices
for nodes that announce no deadline of their own."""

LONGEST_LEAD_MS = max(NODE_DELETION_LEAD_MS, *(notice.lead_ms for notice in SPOT_NOTICES))
"""Only a deadline that a node announces can be farther away than this."""


def evacuation_deadline_ms(node: ObservedNode, now_ms: int, promised_ms: int | None = None) -> int | None:
    """Return the epoch milliseconds by which `node` has to be left, or None when nothing announces its end.

    A notice without a deadline of its own runs from the moment it is first seen; that moment is remembered by the
    deadline already promised to the pod (`promised_ms`), which only an announced deadline may change.
    """
    announced = [_deadline_in_value(node, notice) for notice in _notices_on(node)]
    exact = [deadline for deadline in announced if deadline is not None]
    if exact:
        return min(exact)
    leads = [notice.lead_ms for notice in _notices_on(node)] + ([NODE_DELETION_LEAD_MS] if node.deleting else [])
    if not leads:
        return None
    return promised_ms if promised_ms is not None else now_ms + min(leads)


def _notices_on(node: ObservedNode) -> Iterable[SpotNotice]:
    return [notice for notice in SPOT_NOTICES if _shows(node, notice)]


def _shows(node: ObservedNode, notice: SpotNotice) -> bool:
    return notice.key in (node.taints if notice.sign is Sign.TAINT else node.true_conditions)


def _deadline_in_value(node: ObservedNode, notice: SpotNotice) -> int | None:
    value = node.taints.get(notice.key, "")
    if not notice.value_is_deadline or not (value.isascii() and value.isdigit()):
        return None
    seconds = int(value)
    return seconds * 1000 if seconds < _LATEST_EPOCH_S else seconds
