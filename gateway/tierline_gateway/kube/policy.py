"""The policy of our namespace, compiled again whenever a resource or an API key changes."""

import asyncio
import logging
from collections.abc import Iterable
from typing import TypeVar

from tierline.api.fleet import LLMFleet
from tierline.api.meta import Resource
from tierline.api.names import GROUP, VERSION
from tierline.api.parsing import parse
from tierline.api.policy import CompiledPolicy, compile_policy
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline_gateway.kube.client import Json, KubeClient
from tierline_gateway.kube.feed import Feed
from tierline_gateway.kube.keys import SecretKeys
from tierline_gateway.policy_source import PolicySnapshot

log = logging.getLogger(__name__)

POLL_S = 0.1

R = TypeVar("R", bound=Resource)


class KubePolicySource:
    """Watches tiers, quotas, the fleet and those that its gateway serves, too; `run` keeps `current` up to date until
    cancelled.

    Secrets are read by GET, since a gateway may not list them, and from time to time again, so a rotated key is
    honoured soon. A key stays known while its Secret only cannot be read, and an object that turned invalid counts as
    it last was valid: what works goes on working while something is being put right.
    """

    def __init__(self, client: KubeClient, namespace: str, fleet: str) -> None:
        base = f"/apis/{GROUP}/{VERSION}"
        self._fleet = fleet
        self._keys = SecretKeys(client)
        self._tiers = Feed(client, f"{base}/slotiers")
        self._quotas = Feed(client, f"{base}/namespaces/{namespace}/tenantquotas")
        self._fleets = Feed(client, f"{base}/namespaces/{namespace}/llmfleets")
        self._compiled: CompiledPolicy | None = None
        self._valid: dict[str, dict[str, Resource]] = {}
        self._invalid: dict[str, list[str]] = {}
        self._reported: frozenset[str] = frozenset()
        self.current: PolicySnapshot | None = None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return (self._tiers, self._quotas, self._fleets)

    async def run(self) -> None:
        """Compile on every change, and read keys when they are due; neither waits for the other."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_resources())
            tasks.create_task(self._follow_keys())

    async def _follow_resources(self) -> None:
        seen = -1
        while True:
            revision = sum(feed.store.revision for feed in self.feeds)
            if all(feed.store.synced for feed in self.feeds) and revision != seen:
                self._compiled, seen = self._compile(), revision
                # Before any key was asked for, a snapshot would only turn everybody away.
                if self.current is not None:
                    self._publish(self._compiled)
            await asyncio.sleep(POLL_S)

    async def _follow_keys(self) -> None:
        while True:
            policy = self._compiled
            if policy is not None:
                read = await self._keys.read_due(policy.tenants.values())
                if read or self.current is None:
                    self._publish(self._compiled or policy)
            await asyncio.sleep(POLL_S)

    def _publish(self, policy: CompiledPolicy) -> None:
        keys, problems = self._keys.table(policy.tenants.values())
        self.current = PolicySnapshot(policy, keys)
        invalid = [problem for listed in self._invalid.values() for problem in listed]
        self._report([*invalid, *map(str, policy.problems), *problems])

    def _compile(self) -> CompiledPolicy:
        fleets = {obj["metadata"]["name"]: obj for obj in self._fleets.store.all()}
        own = self._parsed(LLMFleet, [fleets[self._fleet]] if self._fleet in fleets else [])
        guests = [fleets[name] for fleet in own for name in fleet.spec.gateway.fleet_refs if name in fleets]
        return compile_policy(
            self._parsed(SLOTier, self._tiers.store.all()),
            self._parsed(TenantQuota, self._quotas.store.all()),
            (*own, *self._parsed(LLMFleet, guests, "guests")),
            self._fleet,
        )

    def _parsed(self, kind: type[R], objects: Iterable[Json], which: str = "") -> list[R]:
        """Return the objects as they are, or as they last were valid; of objects that are gone nothing is kept.

        `which` tells apart what is read of one kind.
        """
        slot = f"{kind.kind_name} {which}"
        former, valid, invalid = self._valid.get(slot, {}), dict[str, Resource](), list[str]()
        for obj in objects:
            uid = str(obj["metadata"]["uid"])
            try:
                valid[uid] = parse(kind, obj)
            except InvalidResource as error:
                invalid.append(str(error))
                if uid in former:
                    valid[uid] = former[uid]
        self._valid[slot], self._invalid[slot] = valid, invalid
        return [resource for resource in valid.values() if isinstance(resource, kind)]

    def _report(self, problems: list[str]) -> None:
        """Log what is wrong now and was not before."""
        for problem in dict.fromkeys(problems):
            if problem not in self._reported:
                log.warning("%s", problem)
        self._reported = frozenset(problems)
