"""API keys out of Secrets, by GET: a gateway may read the Secrets that quotas name, but not list any."""

import base64
from collections.abc import Callable, Iterable

from tierline.api.policy import SecretKeyRef, TenantPolicy
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.feed import FAILURES

_NOT_FOUND = 404


class SecretKeys:
    """Reads keys and keeps their digests, so that tenants are served on while the API server is away.

    `missing` says whether a key was not there at the last reading. `report` is told of each problem.
    """

    def __init__(self, client: KubeClient, report: Callable[[str], None]) -> None:
        self._client = client
        self._report = report
        self._digests: dict[SecretKeyRef, bytes] = {}
        self.missing = False

    async def read(self, tenants: Iterable[TenantPolicy]) -> KeyTable:
        """Return the table of all keys that `tenants` refer to."""
        table: dict[bytes, str] = {}
        self.missing = False
        for tenant in tenants:
            for ref in tenant.api_key_refs:
                await self._refresh(ref)
                if ref in self._digests:
                    table[self._digests[ref]] = tenant.tenant
                self.missing |= ref not in self._digests
        return KeyTable(table)

    async def _refresh(self, ref: SecretKeyRef) -> None:
        """Learn the key that `ref` stands for now; forget it only when the server says that it is gone."""
        where = f"Secret {ref.namespace}/{ref.name} key {ref.key!r}"
        try:
            secret = await self._client.get(f"/api/v1/namespaces/{ref.namespace}/secrets/{ref.name}")
            key = base64.b64decode((secret.get("data") or {}).get(ref.key, "")).decode().strip()
        except FAILURES as error:
            if isinstance(error, KubeError) and error.status == _NOT_FOUND:
                self._digests.pop(ref, None)
            consequence = "the key last read stays valid" if ref in self._digests else "its holders get 401"
            self._report(f"{where} cannot be read ({error}); {consequence}")
            return
        if key:
            self._digests[ref] = key_digest(key)
        else:
            self._digests.pop(ref, None)
            self._report(f"{where} is missing or empty; add it to the Secret")
