"""The cluster as a whole, from the stores: rooms of nodes, what happened to spot markets, which node may be emptied."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tierline.api.names import LABEL_POOL
from tierline.fleet.observed import Manifest
from tierline.fleet.placement.consolidation import node_to_empty
from tierline.fleet.placement.market import Supply
from tierline.fleet.placement.market_watch import SpotSight, watch_markets
from tierline.fleet.placement.planner import PlacedPod
from tierline.fleet.placement.room import NodeRoom
from tierline.fleet.placement.room_reading import market_of, placed_pod, read_room, takes_pods
from tierline.fleet.placement.spot_notices import evacuation_deadline_ms
from tierline.fleet.reading import read_node
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.remembered import Remembered
from tierline_operator.heartbeats import without_heartbeats
from tierline_operator.kinds import NODE, POD, WORKER_POOL
from tierline_operator.stores import Stores


@dataclass(slots=True)
class Surveyor:
    """Keeps the book's rooms, history and emptying up to date; `survey` may be called as often as you like."""

    stores: Stores
    book: CapacityBook
    _sight: SpotSight | None = None
    _shape: frozenset[tuple[str, str]] = frozenset()
    _calm_since_ms: int = 0
    _nodes: Remembered[Manifest] = field(default_factory=Remembered)
    _rooms: Remembered[NodeRoom] = field(default_factory=Remembered)
    _placed: Remembered[PlacedPod] = field(default_factory=Remembered)

    def survey(self, now_ms: int) -> bool:
        """Look at nodes and pods; says whether workers may be in the wrong place now that were not before.

        Room alone moves nobody, and a node that comes or goes wakes pools by itself.
        """
        for remembered in (self._nodes, self._rooms, self._placed):
            remembered.turn()
        pods_on = self._pods_by_node()
        surveyed = {node["metadata"]["name"]: node for node in self.stores[NODE].all()}
        nodes = {name: self._node(node) for name, node in surveyed.items()}
        rooms = tuple(
            self._room(node, pods_on.get(name, ())) for name, node in nodes.items() if takes_pods(node, now_ms)
        )
        before = (self.book.history.preempted, self.book.emptying)
        self.book.rooms, self.book.surveyed = rooms, surveyed
        self._watch_spot(nodes, pods_on, now_ms)
        self._consolidate(pods_on, rooms, now_ms)
        return before != (self.book.history.preempted, self.book.emptying)

    def _node(self, node: Manifest) -> Manifest:
        return self._nodes.of(node["metadata"]["name"], (node,), lambda: without_heartbeats(node))

    def _room(self, node: Manifest, pods: Sequence[Manifest]) -> NodeRoom:
        return self._rooms.of(node["metadata"]["name"], (node, *pods), lambda: read_room(node, pods))

    def _placement(self, pod: Manifest, node: Manifest | None, now_ms: int) -> PlacedPod:
        """Return where a worker is; of one that has a node nothing that matters here changes with time."""
        if node is None or not pod.get("spec", {}).get("nodeName"):
            return placed_pod(pod, node, now_ms)
        return self._placed.of(pod["metadata"]["uid"], (pod, node), lambda: placed_pod(pod, node, now_ms))

    def _pods_by_node(self) -> Mapping[str, list[Manifest]]:
        found: dict[str, list[Manifest]] = defaultdict(list)
        for pod in self.stores[POD].all():
            if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}:
                found[pod.get("spec", {}).get("nodeName", "")].append(pod)
        return found

    def _watch_spot(self, nodes: Mapping[str, Manifest], pods_on: Mapping[str, list[Manifest]], now_ms: int) -> None:
        markets = {name: market_of(node)[1] for name, node in nodes.items() if market_of(node)[0] is Supply.SPOT}
        ends = {name: evacuation_deadline_ms(read_node(nodes[name]), now_ms) for name in markets}
        # A cordon, or a kubelet that is silent for a moment, says nothing about the market.
        doomed = frozenset(name for name, deadline_ms in ends.items() if deadline_ms is not None)
        sight = SpotSight(markets, doomed, frozenset(name for name in markets if pods_on.get(name)))
        workers = ((name, pod) for name, pods in pods_on.items() for pod in pods if _is_worker(pod))
        placed = [self._placement(pod, nodes.get(name), now_ms) for name, pod in workers]
        self.book.history = watch_markets(self.book.history, self._sight, sight, placed, now_ms)
        self._sight = sight

    def _consolidate(self, pods_on: Mapping[str, list[Manifest]], rooms: tuple[NodeRoom, ...], now_ms: int) -> None:
        shape = frozenset((pod["metadata"]["uid"], name) for name, pods in pods_on.items() for pod in pods)
        if shape != self._shape:
            self._shape, self._calm_since_ms = shape, now_ms
        if self.book.emptying and any(room.name == self.book.emptying and room.pods for room in rooms):
            return
        self.book.emptying = node_to_empty(rooms, self._movable(pods_on), now_ms - self._calm_since_ms)

    def _movable(self, pods_on: Mapping[str, list[Manifest]]) -> frozenset[str]:
        resting = {
            (pool["metadata"]["namespace"], pool["metadata"]["name"])
            for pool in self.stores[WORKER_POOL].all()
            if pool["spec"].get("placement", {}).get("consolidation") == "Never"
        }
        return frozenset(
            pod["metadata"]["uid"]
            for pods in pods_on.values()
            for pod in pods
            if _is_worker(pod)
            and (pod["metadata"]["namespace"], pod["metadata"]["labels"].get(LABEL_POOL, "")) not in resting
        )


def _is_worker(pod: Manifest) -> bool:
    return LABEL_POOL in pod["metadata"].get("labels", {})
