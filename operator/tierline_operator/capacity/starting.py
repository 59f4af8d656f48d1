"""What workers' starts and reports teach, look by look, and what is expected of the next start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tierline.api.pool import WorkerPool
from tierline.fleet.placement.room import Need
from tierline.fleet.placement.weights import CachedModel, NodeWeights
from tierline.fleet.scaling.cold_starts import StartKey, StartTime, StartWatch
from tierline.fleet.scaling.learned import Learned
from tierline.fleet.scaling.signals import Reading
from tierline.fleet.scaling.worker_reports import cached_weights, started_warm
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.scenes import Scene
from tierline_operator.kinds import NODE
from tierline_operator.stores import Stores


@dataclass(frozen=True, slots=True)
class ExpectedStart:
    """How long the pool's next worker will take to start, and whether a node with room has its weights."""

    time: StartTime
    warm: bool


@dataclass(slots=True)
class StartLearner:
    """Keeps the book's starts and weights up to date. `resume` takes over what a former leader knew."""

    stores: Stores
    book: CapacityBook
    _starting: frozenset[str] = field(default_factory=frozenset)
    _looked_ms: int | None = None
    _expected: dict[tuple[str, tuple[str, ...], Need], ExpectedStart] = field(default_factory=dict)

    def resume(self, learned: Learned) -> None:
        self.book.starts = learned.starts
        self._know(learned.weights)

    def taught(self, learned: Learned) -> Learned:
        return replace(learned, starts=self.book.starts, weights=self.book.weights)

    def look(self, scenes: Iterable[Scene], readings: Mapping[tuple[str, str], Reading], now_ms: int) -> None:
        """Take in what the workers of all fleets told at this look."""
        seen, weights = tuple(scenes), self.book.weights
        warm: dict[str, bool] = {}
        for scene in seen:
            if (reading := readings.get(scene.key)) is not None:
                told = started_warm(reading)
                warm |= {uid: told[pod] for pod, uid in scene.uids.items() if pod in told}
                weights = _with_reports(weights, scene, reading)
        sights = [sight for scene in seen for sight in scene.starts]
        watch = StartWatch(self.book.starts, self._starting, self._looked_ms).looked(sights, warm, now_ms)
        self.book.starts, self._starting, self._looked_ms = watch.starts, watch.starting, watch.looked_ms
        self._know(weights.among({node["metadata"]["name"] for node in self.stores[NODE].all()}))
        self._expected.clear()

    def expected(self, scene: Scene) -> Mapping[str, ExpectedStart]:
        """Return what is expected of the next start in each of a fleet's pools, worked out once a look."""
        return {name: self._expect(facts.pool, scene.needs.get(name, Need())) for name, facts in scene.pools.items()}

    def cached(self, scene: Scene) -> CachedModel:
        """Return where the fleet's model is."""
        return self.book.cached(scene.fleet.spec.model.source)

    def _know(self, weights: NodeWeights) -> None:
        if weights is not self.book.weights:
            self.book.weights, self.book.models = weights, weights.by_model()

    def _expect(self, pool: WorkerPool, need: Need) -> ExpectedStart:
        """Fleets of one model and kind expect the same: nodes are not gone through for each of them."""
        kinds = (pool.spec.accelerator or "", *pool.spec.alternative_accelerators)
        key = (pool.spec.model.source, kinds, need)
        if key not in self._expected:
            self._expected[key] = expected_start(self.book, pool, need)
        return self._expected[key]


def _with_reports(weights: NodeWeights, scene: Scene, reading: Reading) -> NodeWeights:
    told = cached_weights(reading)
    if told:
        nodes = {worker.uid: worker.node for workers in scene.workers.values() for worker in workers if worker.node}
        for pod, models in told.items():
            node = nodes.get(scene.uids.get(pod, ""))
            weights = weights.told(node, models) if node is not None else weights
    return weights


def expected_start(book: CapacityBook, pool: WorkerPool, need: Need) -> ExpectedStart:
    warm = bool(warm_nodes(book, pool, need))
    key = StartKey(pool.spec.model.source, pool.spec.accelerator or "", warm)
    return ExpectedStart(book.starts.expected(key), warm)


def warm_nodes(book: CapacityBook, pool: WorkerPool, need: Need) -> frozenset[str]:
    """Return the nodes with room for one more of the pool's workers that have its weights."""
    holders = frozenset(book.cached(pool.spec.model.source).nodes)
    if not holders:
        return holders
    kinds = {pool.spec.accelerator, *pool.spec.alternative_accelerators} if pool.spec.accelerator else None
    return frozenset(
        room.name
        for room in book.rooms
        if room.name in holders and need.times(room.free) and (kinds is None or room.market.accelerator in kinds)
    )
