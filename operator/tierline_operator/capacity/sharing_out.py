"""Who gets how many workers when accelerators are scarce: what pools wish, and what of it they may have."""

from collections.abc import Mapping, Sequence

from tierline.fleet.scaling.planner import ScalingPlan
from tierline.fleet.scaling.sharing import Claim, PoolKey, SharingMemory, SharingTimes, plan_sharing
from tierline_operator.capacity.book import CapacityBook, FleetKey
from tierline_operator.capacity.scenes import Scene, shares_of
from tierline_operator.stores import Stores


class Sharer:
    """Keeps from look to look what pools were capped to, and what those that gave have yet to get back."""

    def __init__(self, stores: Stores, book: CapacityBook, times: SharingTimes) -> None:
        self._stores = stores
        self._book = book
        self._times = times
        self._memory = SharingMemory()
        self._wishes: dict[PoolKey, int] = {}

    def share(self, scenes: Sequence[Scene], plans: Mapping[FleetKey, ScalingPlan | None], now_ms: int) -> None:
        """Decide on the caps that hold until the next look."""
        claims = []
        for scene in scenes:
            plan = plans[scene.key]
            wanted = {it.name: it.replicas for it in plan.decisions} if plan else {}
            pools = scene.pools.items()
            claims += [scene.claim(facts, wanted.get(name, self._wish(scene, name))) for name, facts in pools]
        capacity: dict[str, int] = {}
        for room in self._book.rooms:
            capacity[room.market.accelerator] = capacity.get(room.market.accelerator, 0) + room.total.gpus
        shares = shares_of(self._stores)
        self._memory = plan_sharing(self._memory, claims, capacity, shares, now_ms=now_ms, times=self._times)
        self._wishes = {it.key: self._wishes.get(it.key, it.wanted) for it in claims if self._keeps_wish(it)}

    def target(self, scene: Scene, name: str, plan: ScalingPlan | None) -> int:
        """Return how many workers a pool of the fleet is to have."""
        planned = {it.name: it.replicas for it in plan.decisions} if plan else {}
        wanted = planned.get(name, self._wish(scene, name))
        return min(wanted, self._memory.caps.get((scene.key[0], name), wanted))

    def caps(self, scene: Scene) -> Mapping[str, int]:
        """Return the caps of the fleet's pools that are in force."""
        caps = self._memory.caps
        return {name: caps[scene.key[0], name] for name in scene.pools if (scene.key[0], name) in caps}

    def _keeps_wish(self, claim: Claim) -> bool:
        """Say whether a pool has yet to get back what it gave."""
        return claim.key in self._memory.caps or claim.held < self._wishes.get(claim.key, 0)

    def _wish(self, scene: Scene, name: str) -> int:
        """Return what a pool without a plan wants: what it has, and what it gave."""
        facts = scene.pools[name]
        wish = max(facts.pool.spec.replicas, self._wishes.get((scene.key[0], name), 0))
        return min(max(wish, facts.low), facts.high)
