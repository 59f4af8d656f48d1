"""Floods of drills: requests in the name of one tenant, at a rate, until a deadline.

A flood lives in the memory of the operator that leads: it ends at its deadline by its own clock, when its drill is
undone, and with the operator. Whoever takes over goes on with what is left of it. At most `MOST_IN_FLIGHT` requests are
open at a time; what is due beyond that is not sent, so a fleet that hangs is not buried.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import aiohttp

from tierline.api.names import GATEWAY_HTTP_PORT

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 256
MOST_BEHIND_SECONDS = 1.0
WORD = "flood "


@dataclass(frozen=True, slots=True)
class FloodPlan:
    """What to send: `gateways` tells addresses, `key` is the tenant's, `until_s` the deadline in epoch seconds."""

    gateways: Callable[[], Sequence[str]]
    key: str
    model: str
    per_second: int
    prompt_tokens: int
    output_tokens: int
    until_s: float


class Floods:
    """The floods that this operator makes, by the uid of their drill."""

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        self._clock_s = clock_s
        self._running: dict[str, asyncio.Task[None]] = {}

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self._running)

    def start(self, uid: str, plan: FloodPlan) -> None:
        """Begin a flood; one that runs already goes on as it is."""
        if uid in self._running or self._clock_s() >= plan.until_s:
            return
        log.warning("flooding with %d requests a second until %d", plan.per_second, plan.until_s)
        task = asyncio.create_task(self._flood(plan), name=f"flood-{uid}")
        self._running[uid] = task
        task.add_done_callback(lambda _: self._running.pop(uid, None))

    async def stop(self, uid: str) -> None:
        """End a flood and everything that it has open."""
        task = self._running.get(uid)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """End all floods."""
        for uid in self.running:
            await self.stop(uid)

    async def _flood(self, plan: FloodPlan) -> None:
        remaining_s = plan.until_s - self._clock_s()
        connector = aiohttp.TCPConnector(limit=MOST_IN_FLIGHT)
        timeout = aiohttp.ClientTimeout(total=remaining_s)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            open_requests: set[asyncio.Task[None]] = set()
            try:
                async with asyncio.timeout(remaining_s):
                    async for serial in _due(plan.per_second):
                        gateways = plan.gateways()
                        if gateways and len(open_requests) < MOST_IN_FLIGHT:
                            gateway = gateways[serial % len(gateways)]
                            request = asyncio.create_task(_send(session, plan, gateway, serial))
                            open_requests.add(request)
                            request.add_done_callback(open_requests.discard)
            except TimeoutError:
                log.info("the flood's time is over")
            finally:
                for request in open_requests:
                    request.cancel()
                await asyncio.gather(*open_requests, return_exceptions=True)


async def _due(per_second: int) -> AsyncIterator[int]:
    """Yield numbers when they are due; an operator that is busy makes up for at most `MOST_BEHIND_SECONDS`."""
    clock = asyncio.get_running_loop().time
    due_s = clock()
    for serial in itertools.count():
        yield serial
        due_s = max(due_s + 1 / per_second, clock() - MOST_BEHIND_SECONDS)
        await asyncio.sleep(max(0.0, due_s - clock()))


async def _send(session: aiohttp.ClientSession, plan: FloodPlan, gateway: str, serial: int) -> None:
    """Send one request; how it fares is for the gateway to count. Each prompt begins differently: none is cached."""
    body = {
        "model": plan.model,
        "prompt": f"{serial} {WORD * (plan.prompt_tokens - 1)}",
        "max_tokens": plan.output_tokens,
        "ignore_eos": True,
    }
    url, headers = f"http://{gateway}:{GATEWAY_HTTP_PORT}/v1/completions", {"Authorization": f"Bearer {plan.key}"}
    try:
        async with session.post(url, json=body, headers=headers) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.debug("a request of the flood failed: %s", error or type(error).__name__)
