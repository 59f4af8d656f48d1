"""The policy of our namespace, compiled again whenever a resource or an API key changes."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Iterable
from typing import TypeVar

from tierline.api.fleet import LLMFleet
from tierline.api.meta import Resource
from tierline.api.names import GROUP, VERSION
from tierline.api.parsing import parse
from tierline.api.policy import CompiledPolicy, SecretKeyRef, compile_policy
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.kube_client import Json, KubeClient, KubeError
from tierline_gateway.kube_feed import FAILURES, Feed
from tierline_gateway.policy_source import PolicySnapshot

log = logging.getLogger(__name__)

POLL_S = 0.1
KEYS_REFRESH_S = 15.0
NOT_FOUND = 404

R = TypeVar("R", bound=Resource)


class KubePolicySource:
    """Watches tiers, quotas and the fleet; `run` keeps `current` up to date until cancelled.

    Secrets are read by GET, since a gateway may not list them; they are read again every `KEYS_REFRESH_S`, so a
    rotated key is honoured soon. A key stays known while its Secret only cannot be read, and an object that turned
    invalid counts as it last was valid: what works goes on working while something is being put right.
    """

    def __init__(self, client: KubeClient, namespace: str, fleet: str) -> None:
        base = f"/apis/{GROUP}/{VERSION}"
        self._client = client
        self._fleet = fleet
        self._tiers = Feed(client, f"{base}/slotiers")
        self._quotas = Feed(client, f"{base}/namespaces/{namespace}/tenantquotas")
        self._fleets = Feed(client, f"{base}/namespaces/{namespace}/llmfleets")
        self._reported: set[str] = set()
        self._known_keys: dict[SecretKeyRef, str] = {}
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
            stale = loop.time() - keys_read_s > KEYS_REFRESH_S
            if all(feed.store.synced for feed in self.feeds) and (revision != seen or stale):
                policy = self._compile()
                self.current = PolicySnapshot(policy, await self._keys(policy))
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

    async def _keys(self, policy: CompiledPolicy) -> KeyTable:
        tenants: dict[bytes, str] = {}
        for tenant in policy.tenants.values():
            for ref in tenant.api_key_refs:
                key = await self._secret_key(ref)
                if key:
                    tenants[key_digest(key)] = tenant.tenant
        return KeyTable(tenants)

    async def _secret_key(self, ref: SecretKeyRef) -> str:
        where = f"Secret {ref.namespace}/{ref.name} key {ref.key!r}"
        try:
            secret = await self._client.get(f"/api/v1/namespaces/{ref.namespace}/secrets/{ref.name}")
            encoded = (secret.get("data") or {}).get(ref.key, "")
            key = base64.b64decode(encoded).decode().strip()
        except (*FAILURES, binascii.Error) as error:
            gone = isinstance(error, KubeError) and error.status == NOT_FOUND
            known = "" if gone else self._known_keys.get(ref, "")
            consequence = "the key last read stays valid" if known else "its holders get 401"
            self._report(f"{where} cannot be read ({error}); {consequence}")
            return known
        self._known_keys[ref] = key
        if not key:
            self._report(f"{where} is missing or empty; add it to the Secret")
        return key

    def _report(self, problem: str) -> None:
        """Log each problem once, not at every compilation."""
        if problem not in self._reported:
            self._reported.add(problem)
            log.warning("%s", problem)
