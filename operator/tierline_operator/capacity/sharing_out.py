"""Who gets how many workers when accelerators are scarce: what pools wish, and what of it they may have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tierline.fleet.scaling.claims import Claim, PoolKey
from tierline.fleet.scaling.planner import ScalingPlan
from tierline.fleet.scaling.sharing import SharingMemory, SharingTimes, plan_sharing
from tierline.fleet.scaling.signals import FleetTraffic
from tierline.fleet.scaling.turns import Turn
from tierline_operator.capacity.book import CapacityBook, FleetKey
from tierline_operator.capacity.scenes import Scene, shares_of
from tierline_operator.capacity.starting import StartLearner
from tierline_operator.stores import Stores


class Sharer:
    """Keeps from look to look what pools were capped to, and what those that gave have yet to get back."""

    def __init__(self, stores: Stores, book: CapacityBook, starts: StartLearner, times: SharingTimes) -> None:
        self._stores = stores
        self._book = book
        self._starts = starts
        self._times = times
        self._memory = SharingMemory()
        self._wishes: dict[PoolKey, int] = {}

    def share(
        self,
        scenes: Sequence[Scene],
        plans: Mapping[FleetKey, ScalingPlan | None],
        traffic: Mapping[FleetKey, FleetTraffic | None],
        now_ms: int,
    ) -> None:
        """Decide on the caps and turns that hold until the next look."""
        claims = [it for scene in scenes for it in self._claims(scene, plans[scene.key], traffic[scene.key])]
        capacity: dict[str, int] = {}
        for room in self._book.rooms:
            capacity[room.market.accelerator] = capacity.get(room.market.accelerator, 0) + room.total.gpus
        shares = shares_of(self._stores)
        self._memory = plan_sharing(self._memory, claims, capacity, shares, now_ms=now_ms, times=self._times)
        self._wishes = {it.key: self._wishes.get(it.key, it.wanted) for it in claims if self._keeps_wish(it)}

    def target(self, scene: Scene, name: str, plan: ScalingPlan | None) -> int:
        """Return how many workers a pool of the fleet is to have."""
        planned = {it.name: it.replicas for it in plan.decisions} if plan else {}
        return self._memory.most((scene.key[0], name), planned.get(name, self._wish(scene, name)))

    def caps(self, scene: Scene) -> Mapping[str, int]:
        """Return the caps of the fleet's pools that are in force."""
        caps = self._memory.caps
        return {name: caps[scene.key[0], name] for name in scene.pools if (scene.key[0], name) in caps}

    def turns(self, scene: Scene) -> Mapping[str, Turn]:
        """Return those of the fleet's pools that wait for their turn."""
        turns = self._memory.turns.waiting
        return {name: turns[scene.key[0], name] for name in scene.pools if (scene.key[0], name) in turns}

    def _claims(self, scene: Scene, plan: ScalingPlan | None, traffic: FleetTraffic | None) -> list[Claim]:
        """Return what the fleet's pools claim, and what waits for them where that is known."""
        wanted = {it.name: it.replicas for it in plan.decisions} if plan else {}
        starts, queue = self._starts.expected(scene), scene.queue(traffic) if traffic else ()
        claims = []
        for name, facts in scene.pools.items():
            claim = scene.claim(facts, wanted.get(name, self._wish(scene, name)))
            claims.append(replace(claim, queue=queue, start_ms=1e3 * starts[name].time.mean_seconds))
        return claims

    def _keeps_wish(self, claim: Claim) -> bool:
        """Say whether a pool has yet to get back what it gave."""
        return claim.key in self._memory.caps or claim.held < self._wishes.get(claim.key, 0)

    def _wish(self, scene: Scene, name: str) -> int:
        """Return what a pool without a plan wants: what it has, and what it gave."""
        facts = scene.pools[name]
        wish = max(facts.pool.spec.replicas, self._wishes.get((scene.key[0], name), 0))
        return min(max(wish, facts.low), facts.high)
