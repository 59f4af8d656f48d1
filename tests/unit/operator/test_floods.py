"""Floods end: at their deadline, when they are stopped, and with the operator; meanwhile they keep their rate."""

import asyncio
import itertools
import time

import pytest
from aiohttp import web
from operator_testing import eventually
from quick_time import QuickTime

from tierline.api.names import GATEWAY_HTTP_PORT
from tierline_operator import flooding
from tierline_operator.flooding import FloodPlan, Floods

HOST = "127.91.9.3"


class Gateway:
    """Takes requests, and answers them once `answering` is set."""

    def __init__(self):
        self.bodies, self.keys = [], []
        self.cut = 0
        self.answering = asyncio.Event()
        self.came = asyncio.Event()

    async def complete(self, request):
        self.bodies.append(await request.json())
        self.keys.append(request.headers["Authorization"])
        self.came.set()
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cut += 1
            raise
        return web.json_response({})


@pytest.fixture
async def gateway():
    it = Gateway()
    app = web.Application()
    app.add_routes([web.post("/v1/completions", it.complete)])
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, HOST, GATEWAY_HTTP_PORT).start()
    yield it
    it.answering.set()
    await runner.cleanup()


async def true(it):
    return it


def plan(seconds=60.0, per_second=200):
    return FloodPlan(
        gateways=lambda: (HOST,),
        key="secret",
        model="chat",
        per_second=per_second,
        prompt_tokens=4,
        output_tokens=8,
        until_s=time.time() + seconds,
    )


async def test_requests_are_sent_in_the_tenants_name_and_no_two_begin_alike(gateway):
    floods = Floods()
    gateway.answering.set()
    floods.start("uid", plan())
    floods.start("uid", plan())
    while len(gateway.bodies) < 3:
        await gateway.came.wait()
        gateway.came.clear()
    await floods.stop("uid")
    assert floods.running == frozenset()
    assert set(gateway.keys) == {"Bearer secret"}
    assert len({body["prompt"] for body in gateway.bodies}) == len(gateway.bodies)
    assert gateway.bodies[0] == {"model": "chat", "prompt": "0 flood flood flood ", "max_tokens": 8, "ignore_eos": True}


async def test_whoever_stops_a_flood_closes_what_it_has_open(gateway):
    floods = Floods()
    floods.start("uid", plan())
    await gateway.came.wait()
    await floods.close()
    sent = len(gateway.bodies)
    gateway.answering.set()
    assert floods.running == frozenset()
    await eventually(lambda: true(gateway.cut == sent), "all are cut off")


async def test_a_flood_ends_at_its_deadline_by_itself(gateway):
    floods = Floods()
    floods.start("uid", plan(seconds=0.2))
    await eventually(lambda: true(not floods.running), "the flood is over")
    floods.start("late", plan(seconds=-1))
    assert floods.running == frozenset()


async def test_a_fleet_that_answers_nothing_is_not_buried(gateway, monkeypatch):
    monkeypatch.setattr(flooding, "MOST_IN_FLIGHT", 3)
    floods = Floods()
    floods.start("uid", plan(seconds=0.3))
    await eventually(lambda: true(not floods.running), "the flood is over")
    assert len(gateway.bodies) == 3


def test_a_busy_operator_makes_up_for_what_it_owes_and_not_for_hours():
    """At ten a second: on time one each 0.1 s; after five seconds in which it could do nothing a second's worth."""

    async def due(busy_s):
        loop, at = asyncio.get_running_loop(), []
        async for serial in flooding._due(10):
            at.append(round(loop.time(), 6))
            if serial == 2:
                loop._now += busy_s
            if serial == 14:
                break
        return at

    with asyncio.Runner(loop_factory=QuickTime) as runner:
        on_time = runner.run(due(0.0))
        late = runner.run(due(5.0))
    steps = [round(after - before, 6) for before, after in itertools.pairwise(on_time)]
    assert steps == [0.1] * 14
    assert late.count(late[3]) == 11
    assert late[-1] > late[3]
