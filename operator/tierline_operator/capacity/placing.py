"""Where one pool's workers should be, from what the book knows and the pool's own pods."""

from collections.abc import Sequence
from dataclasses import replace

from tierline.api.pool import WorkerPool
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.planner import PlacedPod, PoolPlacement, place
from tierline.fleet.placement.room import Need, NodeRoom, offers_of
from tierline.fleet.placement.room_reading import placed_pod, read_need, takes_pods
from tierline.fleet.placement.slot_pod import LABEL_HOSTNAME
from tierline.fleet.pool_plan import PoolObservation, census_of
from tierline.fleet.wanting import placement_terms
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.starting import expected_start, warm_nodes
from tierline_operator.declarations import read_declared
from tierline_operator.kinds import NODE
from tierline_operator.pool_observing import PoolView
from tierline_operator.stores import Stores


def place_pool(stores: Stores, book: CapacityBook, live: Manifest, view: PoolView) -> PoolPlacement:
    """Return the placement of a pool whose spec is valid."""
    pool = read_declared(WorkerPool, live)
    terms = placement_terms(pool, view.seen.replicas)
    need = read_need(view.template) if view.template else Need()
    warm = warm_nodes(book, pool, need)
    speeds = book.speeds_of(pool.spec.model.source)
    # Going through all nodes costs more than the rest of a look, and kube-scheduler does it for a pool that is free.
    rooms = () if terms.is_free else open_rooms(stores, book, view.seen.now_ms)
    offers = offers_of(rooms, book.prices, need, terms, speeds, warm_nodes=warm)
    moves = pool.spec.placement.consolidation != "Never"
    around = replace(book.view(view.seen.now_ms), offers=offers, emptying=book.emptying if moves else "")
    placement = place(terms, _staying(stores, view.seen, view.pods), around)
    return replace(placement, warm_hosts=frozenset(_host_name(stores, name) for name in warm - {around.emptying}))


def start_time_ms(book: CapacityBook, live: Manifest, view: PoolView) -> int:
    """Return how long the pool's next worker takes to serve, nearly always."""
    need = read_need(view.template) if view.template else Need()
    return round(1e3 * expected_start(book, read_declared(WorkerPool, live), need).time.bound_seconds)


def open_rooms(stores: Stores, book: CapacityBook, now_ms: int) -> list[NodeRoom]:
    """Return the rooms of the last survey whose nodes still take workers.

    A notice wakes the pools at once, before the next survey: they must not send the replacement to where it came from.
    """
    return [room for room in book.rooms if _is_open(stores[NODE].get("", room.name), book, now_ms)]


def _is_open(node: Manifest | None, book: CapacityBook, now_ms: int) -> bool:
    if node is None:
        return False
    return node is book.surveyed.get(node["metadata"]["name"]) or takes_pods(node, now_ms)


def _host_name(stores: Stores, node: str) -> str:
    """Return what a node's affinity label says: providers need not name nodes by their hosts."""
    live = stores[NODE].get("", node)
    return str(live["metadata"].get("labels", {}).get(LABEL_HOSTNAME, node)) if live is not None else node


def _staying(stores: Stores, seen: PoolObservation, pods: Sequence[Manifest]) -> list[PlacedPod]:
    staying = {pod.uid for pod in census_of(seen).staying}
    return [
        placed_pod(pod, stores[NODE].get("", pod.get("spec", {}).get("nodeName", "")), seen.now_ms)
        for pod in pods
        if pod["metadata"]["uid"] in staying
    ]
