"""`tierline-operator`: wait for leadership, then look after fleets until told to stop."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import kopf
import uvloop

from tierline_operator.cluster import Cluster
from tierline_operator.context import Context
from tierline_operator.election import Election
from tierline_operator.garbage import look_seldom
from tierline_operator.health import serve_health
from tierline_operator.logs import configure_logs
from tierline_operator.metrics import Metrics
from tierline_operator.registry import build_registry, kopf_settings
from tierline_operator.settings import Settings
from tierline_operator.stores import POLICY_KEY
from tierline_operator.wakes import WakeKey

log = logging.getLogger(__name__)

PLANNING_KEY = WakeKey("Planning", "", "")
"""The one loop that looks at all fleets together."""


class Operator:
    """One replica, from start to stop. `stop` ends it from the same event loop."""

    def __init__(self, settings: Settings, connect: Callable[[], Cluster] = Cluster) -> None:
        self._settings = settings
        self._connect = connect
        self.metrics = Metrics()
        self._leading: Context | None = None
        self._lost = False
        self._absent_seconds = 0.0
        self.stop = asyncio.Event()

    @property
    def leads(self) -> bool:
        return self._leading is not None

    @property
    def is_ready(self) -> bool:
        """A waiting replica is ready to take over; a leading one is ready when it knows the cluster."""
        return self._leading is None or self._leading.stores.synced

    def account_of(self, namespace: str, fleet: str) -> dict[str, Any] | None:
        """Return why a fleet is as it is; None where this replica does not lead or knows no such fleet."""
        return self._leading.planner.account_of(namespace, fleet) if self._leading else None

    async def run(self) -> bool:
        """Serve until stopped; False when leadership was lost and the process should start anew."""
        cluster = self._connect()
        cluster.sent = lambda verb: self.metrics.requests.labels(verb).inc()
        settings = self._settings
        health = await serve_health(
            settings.http_host, settings.http_port, lambda: self.is_ready, self.metrics.registry, self.account_of
        )
        try:
            if settings.elects_leader:
                await self._lead_when_elected(cluster)
            else:
                await self._lead(cluster)
        finally:
            await cluster.close()
            await health.cleanup()
        return not self._lost

    async def _lead_when_elected(self, cluster: Cluster) -> None:
        election = Election(cluster, self._settings)
        if not await self._or_stopped(election.acquire()):
            return
        keeper = asyncio.create_task(self._keep(election))
        try:
            await self._lead(cluster)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await election.release()
            # After a drill took the leadership away: time for another replica to show that it can do without us.
            await asyncio.sleep(self._absent_seconds)

    def step_down(self, seconds: float) -> None:
        """Give the leadership up, and stand for it again only after so many seconds and a new start."""
        self._absent_seconds = seconds
        self._lost = True
        self.stop.set()

    async def _keep(self, election: Election) -> None:
        try:
            await election.hold()
        except Exception:
            log.exception("the Lease can no longer be kept")
        # Whatever ended the holding: a leader without a keeper must not go on.
        self._lost = True
        self.stop.set()

    async def _lead(self, cluster: Cluster) -> None:
        context = self._leading = Context.build(self._settings, cluster, self.metrics, self.step_down)
        self.metrics.leader.set(1)
        try:
            await self._work(context)
        finally:
            await context.floods.close()

    async def _work(self, context: Context) -> None:
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(context.stores.run()), group.create_task(_look_after_policy(context))]
            # Placement needs the whole cluster: no pool is looked at before it has been surveyed once.
            if await self._or_stopped(_survey(context)):
                context.looper.begin(PLANNING_KEY, context.planner.look)
                await self._or_stopped(self._watch_over(context))
            for helper in helpers:
                helper.cancel()

    async def _watch_over(self, context: Context) -> None:
        # Without kopf's own stop flag: a task that waits for it outlives a signal and delays the exit by seconds.
        watching = asyncio.create_task(
            kopf.operator(
                registry=build_registry(context),
                settings=kopf_settings(),
                standalone=True,
                clusterwide=not self._settings.namespaces,
                namespaces=self._settings.namespaces,
            )
        )
        try:
            await asyncio.wait({watching})
        finally:
            # Before kopf, which takes its time: whoever no longer leads must not write any more.
            await context.looper.close()
            watching.cancel()
            await asyncio.wait({watching})
        watching.result()

    async def _or_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Await `work` unless the operator is stopped first; says whether the work is done."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self.stop.wait())
        done, pending = await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for other in pending:
            other.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if task in done:
            task.result()
        return task in done


async def _survey(context: Context) -> None:
    await context.stores.wait_synced()
    await context.planner.open()


async def _look_after_policy(context: Context) -> None:
    await context.stores.wait_synced()
    await context.looper.look_after(POLICY_KEY, context.policy.look)


async def _serve(settings: Settings) -> bool:
    operator = Operator(settings)
    # kopf puts its own handlers here once it runs; until then a waiting replica has to stop by itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, operator.stop.set)
    return await operator.run()


def main() -> None:
    """Run the operator with the settings of the environment; exits with 1 when it has to be started again."""
    try:
        settings = Settings.from_env(os.environ)
        configure_logs(settings.log_level)
    except ValueError as error:
        sys.exit(f"tierline-operator: {error}")
    look_seldom()
    sys.exit(0 if uvloop.run(_serve(settings)) else 1)
