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
KEYS_REFRESH_S = 15.0
KEYS_RETRY_S = 1.0

R = TypeVar("R", bound=Resource)


class KubePolicySource:
    """Watches tiers, quotas and the fleet; `run` keeps `current` up to date until cancelled.

    Secrets are read by GET, since a gateway may not list them; they are read again every `KEYS_REFRESH_S`, so a
    rotated key is honoured soon. A key stays known while its Secret only cannot be read, and an object that turned
    invalid counts as it last was valid: what works goes on working while something is being put right.
    """

    def __init__(self, client: KubeClient, namespace: str, fleet: str) -> None:
        base = f"/apis/{GROUP}/{VERSION}"
        self._fleet = fleet
        self._keys = SecretKeys(client, self._report)
        self._tiers = Feed(client, f"{base}/slotiers")
        self._quotas = Feed(client, f"{base}/namespaces/{namespace}/tenantquotas")
        self._fleets = Feed(client, f"{base}/namespaces/{namespace}/llmfleets")
        self._reported: set[str] = set()
        self._valid: dict[tuple[str, str], Resource] = {}
        self.current: PolicySnapshot | None = None

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return (self._tiers, self._quotas, self._fleets)

    async def run(self) -> None:
        """Compile on every change, and read the keys again from time to time."""
        seen, keys_read_s = -1, 0.0
        loop = asyncio.get_running_loop()
        while True:
            revision = sum(feed.store.revision for feed in self.feeds)
            refresh_s = KEYS_RETRY_S if self._keys.missing else KEYS_REFRESH_S
            stale = loop.time() - keys_read_s > refresh_s
            if all(feed.store.synced for feed in self.feeds) and (revision != seen or stale):
                policy = self._compile()
                self.current = PolicySnapshot(policy, await self._keys.read(policy.tenants.values()))
                seen, keys_read_s = revision, loop.time()
            await asyncio.sleep(POLL_S)

    def _compile(self) -> CompiledPolicy:
        fleets = [obj for obj in self._fleets.store.all() if obj["metadata"]["name"] == self._fleet]
        policy = compile_policy(
            self._parsed(SLOTier, self._tiers.store.all()),
            self._parsed(TenantQuota, self._quotas.store.all()),
            self._parsed(LLMFleet, fleets),
        )
        for problem in policy.problems:
            self._report(str(problem))
        return policy

    def _parsed(self, kind: type[R], objects: Iterable[Json]) -> list[R]:
        parsed = []
        for obj in objects:
            key = (kind.kind_name, str(obj["metadata"]["uid"]))
            try:
                self._valid[key] = parse(kind, obj)
            except InvalidResource as error:
                self._report(str(error))
            former = self._valid.get(key)
            if isinstance(former, kind):
                parsed.append(former)
        return parsed

    def _report(self, problem: str) -> None:
        """Log each problem once, not at every compilation."""
        if problem not in self._reported:
            self._reported.add(problem)
            log.warning("%s", problem)
