"""Writes the sizes of a fleet's pools, and lets workers change their pool in place where one lacks what another spares.

Both pools of a flip are held still in the book until their replicas are written and the pods have moved, so that none
of their own loops makes or removes a worker meanwhile. The hold is in memory: whoever takes over after a death between
finds a pool with one worker more than wanted and one with one less, and does by replacement what was left of the flip.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tierline.api.pool import WorkerPool
from tierline.fleet.census import take_census
from tierline.fleet.observed import Manifest, ObjectIdentity, ObservedPod
from tierline.fleet.scaling.role_flip import FlippingPool, RoleMove, flipping_workers
from tierline.fleet.wanted import Images
from tierline.fleet.wanting import wanted_worker
from tierline_operator.actuator import Actuator
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.scenes import Scene
from tierline_operator.cluster import ApiError
from tierline_operator.declarations import read_declared
from tierline_operator.pool_observing import PoolView, find_pool, observe_pool
from tierline_operator.stores import Stores
from tierline_operator.wakes import WakeKey, Wakes

log = logging.getLogger(__name__)

Targets = Mapping[str, int]
"""Replicas to write, by pool."""


@dataclass(frozen=True, slots=True)
class _Flip:
    pod: ObservedPod
    giver: str
    taker: ObjectIdentity
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resizer:
    """Resizes the pools of one fleet after the other."""

    stores: Stores
    actuator: Actuator
    book: CapacityBook
    images: Images
    wakes: Wakes

    async def resize(
        self,
        scene: Scene,
        targets: Targets,
        moves: Iterable[RoleMove],
        running: Mapping[str, float],
        now_ms: int,
    ) -> None:
        """Write replicas that change; `running` is how many requests each worker has, by pod."""
        flips = [flip for move in moves for flip in self._flips(scene, move, targets, running, now_ms)]
        with self._held(scene.key[0], {name for flip in flips for name in (flip.giver, flip.taker.name)}):
            for name, facts in scene.pools.items():
                if targets[name] != facts.pool.spec.replicas:
                    await self._scale(scene.key[0], name, facts.pool.spec.replicas, targets[name])
            for flip in flips:
                log.info("worker %s/%s goes from %s to %s", scene.key[0], flip.pod.name, flip.giver, flip.taker.name)
                await self.actuator.rehome(flip.taker, flip.pod, flip.labels)

    async def _scale(self, namespace: str, pool: str, before: int, target: int) -> None:
        log.info("scaling %s/%s from %d to %d", namespace, pool, before, target)
        try:
            await self.actuator.scale(namespace, pool, target)
        except ApiError as error:
            if error.status not in {404, 409} and not error.is_refusal:
                raise
            log.warning("pool %s/%s cannot be scaled: %s", namespace, pool, error)

    def _flips(
        self, scene: Scene, move: RoleMove, targets: Targets, running: Mapping[str, float], now_ms: int
    ) -> Iterable[_Flip]:
        giver, taker = (self._side(scene.key[0], name, now_ms) for name in (move.giver, move.taker))
        if giver is None or taker is None:
            return
        before = {name: facts.pool.spec.replicas for name, facts in scene.pools.items()}
        gives, takes = before[move.giver] - targets[move.giver], targets[move.taker] - before[move.taker]
        for pod in flipping_workers(move.within(gives, takes), giver.pool, taker.pool, running):
            yield _Flip(pod, move.giver, taker.view.seen.pool, taker.labels)

    def _side(self, namespace: str, name: str, now_ms: int) -> "_Side | None":
        live = find_pool(self.stores, namespace, name)
        view = observe_pool(self.stores, live, self.images, now_ms) if live is not None else None
        if live is None or view is None or view.template is None:
            return None
        return _Side(view, _flipping_pool(live, view), view.template["metadata"]["labels"])

    @contextmanager
    def _held(self, namespace: str, pools: set[str]) -> Iterator[None]:
        keys = frozenset((namespace, name) for name in pools)
        self.book.held |= keys
        try:
            yield
        finally:
            self.book.held -= keys
            for name in pools:
                self.wakes.wake(WakeKey("WorkerPool", namespace, name))


@dataclass(frozen=True, slots=True)
class _Side:
    view: PoolView
    pool: FlippingPool
    labels: Mapping[str, str]


def _flipping_pool(live: Manifest, view: PoolView) -> FlippingPool:
    seen = view.seen
    staying = take_census(seen.pods, seen.nodes, seen.now_ms).staying
    rolled_out = [it for it in live.get("status", {}).get("conditions", ()) if it["type"] == "RolledOut"]
    settled = all(it["status"] == "True" for it in rolled_out)
    worker = wanted_worker(read_declared(WorkerPool, live))
    return FlippingPool(worker, seen.revision or "", staying, settled)
