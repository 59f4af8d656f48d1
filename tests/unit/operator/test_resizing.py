"""A role flip moves a worker's pod to the other pool: no pod is made or removed, whoever looks meanwhile, and whenever
the operator dies all comes to rest with what was asked for."""

from typing import Any

import pytest
from api_server_in_memory import wired
from crashing_operator import CrashWorld, Died, MortalClient, Shown
from fleet_builders import IMAGES

from tierline.fleet.scaling.role_flip import RoleMove
from tierline_operator.capacity.book import CapacityBook
from tierline_operator.capacity.resizing import Resizer
from tierline_operator.capacity.scenes import Scenes
from tierline_operator.cluster import Call
from tierline_operator.pool_reconciling import PoolReconciler

PREFILL, DECODE = "chat-prefill", "chat-decode"
MOVE = RoleMove(DECODE, PREFILL, 1)
WANTED = {PREFILL: 2, DECODE: 2}


async def split_fleet(**decode: Any) -> CrashWorld:
    """A fleet with one prefill worker and three decode workers."""
    world = CrashWorld()
    pools = [
        {"name": "prefill", "role": "Prefill", "replicas": {"min": 1, "max": 4}},
        {"name": "decode", "role": "Decode", "replicas": {"min": 1, "max": 4}, **decode},
    ]
    spec = {"model": {"source": "/models/tiny"}, "tierRefs": ["gold"], "pools": pools, "drainSeconds": 5}
    world.put("LLMFleet", "chat", spec)
    await world.until_quiet()
    (pool,) = [it for it in world.server.of_kind("WorkerPool") if it["metadata"]["name"] == DECODE]
    world.server.put({**pool, "spec": {**pool["spec"], "replicas": 3}})
    await world.until_quiet()
    assert sizes(world) == {PREFILL: 1, DECODE: 3}
    return world


def sizes(world: CrashWorld) -> dict[str, int]:
    pools = [pod["metadata"]["labels"]["tierline.dev/pool"] for pod in world.workers()]
    return {name: pools.count(name) for name in (PREFILL, DECODE)}


def uids(world: CrashWorld) -> set[str]:
    return {pod["metadata"]["uid"] for pod in world.workers()}


async def resize(world: CrashWorld, client: Any, running: dict[str, float] | None = None, meddling: bool = False):
    """Resize as a planning loop with a book of its own does; with `meddling` pools' loops look after each write."""
    wakes, stores, actuator = wired(client)
    book = CapacityBook()
    pools = PoolReconciler(stores, actuator, IMAGES, figures=Shown(), book=book, clock=lambda: world.now_ms)
    if meddling:
        client.after_a_write = lambda: meddle(pools)
    (scene,) = Scenes(stores).look(world.now_ms)
    has = {name: facts.pool.spec.replicas for name, facts in scene.pools.items()}
    moves = (MOVE,) if has != WANTED else ()
    await Resizer(stores, actuator, book, IMAGES, wakes).resize(scene, WANTED, moves, running or {}, world.now_ms)
    assert not book.held


async def meddle(pools: PoolReconciler) -> None:
    for name in (PREFILL, DECODE):
        assert await pools.pool("demo", name) is not None


class Watched(MortalClient):
    """Calls back after each write that is not made by who was called."""

    def __init__(self, server: Any) -> None:
        super().__init__(server, None)
        self.after_a_write: Any = None
        self.meddled: list[Call] = []
        self._inside = False

    async def request(self, call: Call) -> dict[str, Any]:
        answer = await super().request(call)
        if call.method != "GET" and self._inside:
            self.meddled.append(call)
        elif call.method != "GET" and self.after_a_write is not None:
            self._inside = True
            await self.after_a_write()
            self._inside = False
        return answer


async def test_the_idlest_worker_changes_its_role_in_place_and_no_pod_comes_or_goes():
    world = await split_fleet()
    before = uids(world)
    idle = sorted(pod["metadata"]["name"] for pod in world.workers() if DECODE in pod["metadata"]["name"])[1]
    busy = {pod["metadata"]["name"]: 3.0 for pod in world.workers() if pod["metadata"]["name"] != idle}
    await resize(world, MortalClient(world.server, None), busy)
    await world.until_quiet()
    assert sizes(world) == WANTED
    assert uids(world) == before
    (moved,) = [it for it in world.workers() if it["metadata"]["name"] == idle]
    (taker,) = [it for it in world.server.of_kind("WorkerPool") if it["metadata"]["name"] == PREFILL]
    assert moved["metadata"]["labels"]["tierline.dev/role"] == "Prefill"
    assert [it["uid"] for it in moved["metadata"]["ownerReferences"]] == [taker["metadata"]["uid"]]
    assert {it["status"]["readyReplicas"] for it in world.server.of_kind("WorkerPool")} == {2}


async def test_pools_that_are_looked_at_meanwhile_make_and_remove_nobody():
    world = await split_fleet()
    before, client = uids(world), Watched(world.server)
    await resize(world, client, meddling=True)
    client.after_a_write = None
    assert client.meddled == []
    await world.until_quiet()
    assert (sizes(world), uids(world)) == (WANTED, before)


async def test_workers_that_differ_are_replaced():
    world = await split_fleet(engine={"blockTokens": 32})
    before = uids(world)
    await resize(world, MortalClient(world.server, None))
    await world.until_quiet()
    assert sizes(world) == WANTED
    assert len(uids(world) & before) == 3


@pytest.mark.parametrize("writes", range(3))
async def test_whenever_the_operator_dies_the_next_one_ends_where_it_would_have_ended(writes):
    world = await split_fleet()
    with pytest.raises(Died):
        await resize(world, MortalClient(world.server, writes))
    await world.until_quiet()
    await resize(world, MortalClient(world.server, None))
    await world.until_quiet()
    assert sizes(world) == WANTED
    assert world.names_used_twice() == []
    owners = {it["metadata"]["uid"]: it["metadata"]["name"] for it in world.server.of_kind("WorkerPool")}
    for pod in world.workers():
        assert owners[pod["metadata"]["ownerReferences"][0]["uid"]] == pod["metadata"]["labels"]["tierline.dev/pool"]
