"""The spot reclaim in the middle: a node is chosen whose worker is mid-decode, told, and awaited to be gone."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tierline.telemetry.records import Reclaim
from tierline_cli.demo.clock import RunClock
from tierline_cli.demo.cluster_view import ClusterView
from tierline_cli.demo.gateway_debug import GatewayDebug, LiveStream
from tierline_cli.errors import CommandFailed
from tierline_devcluster.faults import spot_notice

MIN_EMITTED = 3
MIN_REMAINING = 12
"""A stream counts as mid-decode when it has emitted so many tokens and so many are to come."""

LASTING_TOKENS = 300
"""A stream with so many tokens to come outlasts the notice, also where a token takes 20 ms."""

LOOK_SECONDS = 0.1
GONE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Victim:
    """A spot node, its worker and the streams that are mid-decode on it."""

    node: str
    worker: str
    streams: tuple[LiveStream, ...]

    @property
    def lasting(self) -> int:
        """How many of the streams will still run when the notice ends."""
        return sum(_remaining(stream) >= LASTING_TOKENS for stream in self.streams)


def choose_victim(
    requests: Sequence[LiveStream], spot_node_of: Mapping[str, str], spared_nodes: frozenset[str]
) -> Victim | None:
    """Return the spot worker with the most lasting streams mid-decode, None when there is none.

    `spot_node_of` maps workers on spot nodes to their node. `spared_nodes` carry what is not to die, a gateway.
    """
    victims = [
        Victim(node, worker, tuple(each for each in requests if each.worker == worker and _mid_decode(each)))
        for worker, node in spot_node_of.items()
        if node not in spared_nodes
    ]
    return max((victim for victim in victims if victim.lasting), key=lambda each: each.lasting, default=None)


@dataclass(frozen=True, slots=True)
class ReclaimPlan:
    """When to look for a victim, on the clock of the run, and how long it is told in advance."""

    from_ms: float
    until_ms: float
    notice_seconds: float


@dataclass(frozen=True, slots=True)
class Reclaimer:
    """Takes a spot node away from under running streams; `tell` hears what happens."""

    view: ClusterView
    debug: GatewayDebug
    kubeconfig: Path
    clock: RunClock
    tell: Callable[[str], None]

    async def run(self, plan: ReclaimPlan) -> Reclaim:
        """Reclaim one node as planned; raises `CommandFailed` when no spot worker is ever mid-decode."""
        await self._sleep_until(plan.from_ms)
        victim = await self._await_victim(plan.until_ms)
        noticed_ms = self.clock.now_ms()
        deadline_s = await spot_notice(self.kubeconfig, victim.node, plan.notice_seconds)
        self.tell(f"spot notice for {victim.node}: {victim.worker} has {len(victim.streams)} streams mid-decode")
        await self._sleep_until(self.clock.at_epoch_s(deadline_s))
        await self.view.await_node_gone(victim.node, GONE_SECONDS)
        self.tell(f"{victim.node} is gone, its processes killed")
        streams = tuple(stream.request_id for stream in victim.streams)
        return Reclaim(victim.node, victim.worker, noticed_ms, self.clock.now_ms(), streams)

    async def _await_victim(self, until_ms: float) -> Victim:
        spot = await self.view.spot_nodes()
        spot_node_of = {pod.name: pod.node for pod in await self.view.workers() if pod.node in spot}
        if not spot_node_of:
            raise CommandFailed(f"no worker runs on a spot node ({', '.join(sorted(spot))}), so none can be reclaimed")
        spared = frozenset({(await self.view.gateway()).pod.node})
        while self.clock.now_ms() < until_ms:
            victim = choose_victim(await self.debug.live(), spot_node_of, spared)
            if victim is not None:
                return victim
            await asyncio.sleep(LOOK_SECONDS)
        raise CommandFailed(
            f"no long stream was mid-decode on the spot workers {', '.join(spot_node_of)} in the middle"
        )

    async def _sleep_until(self, at_ms: float) -> None:
        await asyncio.sleep(max(at_ms - self.clock.now_ms(), 0) / 1000)


def _mid_decode(request: LiveStream) -> bool:
    return request.emitted_tokens >= MIN_EMITTED and _remaining(request) >= MIN_REMAINING


def _remaining(request: LiveStream) -> int:
    return request.max_tokens - request.emitted_tokens
