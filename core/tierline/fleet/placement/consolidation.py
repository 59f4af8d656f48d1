"""Giving a node back: at low load the workers of a nearly empty node move to others that have room for them.

    empty n  if  no change for CALM_MS,  used(n) <= SPARSE of total(n),  and every worker of n fits on other used nodes

Only nodes that already hold workers take them, so each step frees a node and none fills one; nodes of the same supply
and accelerator only (spot stays spot). First-fit decreasing (Johnson 1973) decides what fits. Of several such nodes the
one with the least on it goes first.

Inputs: nodes with what is free on them, since when nothing has changed. Bounds: one node at a time, and none while
anything moves. When not to use it: where every worker fills its node there is never anything to do, and a pool with
`consolidation: Never` is left alone.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from tierline.fleet.placement.room import Need, NodeRoom

CALM_MS = 600_000
SPARSE = 0.5


def node_to_empty(nodes: Sequence[NodeRoom], movable: AbstractSet[str], calm_ms: int) -> str:
    """Return the node whose workers should move together, empty when none should.

    `movable` are the uids of workers whose pools allow it; `calm_ms` is how long nothing has changed.
    """
    if calm_ms < CALM_MS:
        return ""
    used = [node for node in nodes if node.pods]
    sparse = [node for node in used if _is_sparse(node) and set(node.pods) <= movable and _fits_elsewhere(node, used)]
    return min(sparse, key=lambda node: (_weight(node), node.name)).name if sparse else ""


def _is_sparse(node: NodeRoom) -> bool:
    return _weight(node) <= SPARSE


def _weight(node: NodeRoom) -> float:
    """Return the share of the node that its workers take, of the scarcest resource."""
    asked = sum(node.pods.values(), Need())
    shares = (
        (asked.gpus, node.total.gpus),
        (asked.cpu_milli, node.total.cpu_milli),
        (asked.memory_bytes, node.total.memory_bytes),
    )
    return max((wanted / total for wanted, total in shares if total), default=0.0)


def _fits_elsewhere(node: NodeRoom, used: Sequence[NodeRoom]) -> bool:
    rooms = {it.name: it.free for it in used if it.name != node.name and _is_alike(it, node)}
    by_size = sorted(node.pods.values(), key=lambda need: (need.gpus, need.cpu_milli, need.memory_bytes), reverse=True)
    return all(_put(need, rooms) for need in by_size)


def _is_alike(other: NodeRoom, node: NodeRoom) -> bool:
    return other.supply is node.supply and other.market.accelerator == node.market.accelerator


def _put(need: Need, rooms: dict[str, Need]) -> bool:
    for name, free in rooms.items():
        if need.times(free):
            rooms[name] = free - need
            return True
    return False
