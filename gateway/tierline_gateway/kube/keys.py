"""API keys out of Secrets, by GET: a gateway may read the Secrets that quotas name, but not list any."""

import base64
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tierline.api.policy import SecretKeyRef, TenantPolicy
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.feed import FAILURES

REFRESH_S = 15.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
_NOT_FOUND = 404


@dataclass(slots=True)
class _KnownKey:
    """What is known of one reference: the key's digest, None while it is missing, and when to read it next."""

    digest: bytes | None = None
    problem: str = ""
    due_s: float = 0.0
    retry_s: float = FIRST_RETRY_S


class SecretKeys:
    """Reads keys and keeps their digests, so that tenants are served on while the API server is away.

    A key is read again every `REFRESH_S`; one that is missing after pauses that grow to `LONGEST_RETRY_S`, so that a
    forgotten Secret costs the API server next to nothing.
    """

    def __init__(self, client: KubeClient, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock_s = clock_s
        self._known: dict[SecretKeyRef, _KnownKey] = {}

    def table(self, tenants: Iterable[TenantPolicy]) -> tuple[KeyTable, list[str]]:
        """Return the keys of `tenants` as last read, and what is wrong with them; reads nothing.

        A key that two tenants share stands for the first of them by name, whatever order they come in.
        """
        owners: dict[bytes, str] = {}
        problems: list[str] = []
        for tenant in sorted(tenants, key=lambda one: one.tenant):
            for ref in tenant.api_key_refs:
                known = self._known.get(ref, _KnownKey())
                problems += [known.problem] if known.problem else []
                owner = owners.setdefault(known.digest, tenant.tenant) if known.digest else tenant.tenant
                if owner != tenant.tenant:
                    problems.append(_shared(ref, owner, tenant.tenant))
        return KeyTable(owners), problems

    async def read_due(self, tenants: Iterable[TenantPolicy]) -> bool:
        """Read the keys whose time has come, forgetting those that no tenant has; return whether any was read."""
        refs = {ref for tenant in tenants for ref in tenant.api_key_refs}
        self._known = {ref: self._known.get(ref) or _KnownKey() for ref in refs}
        due = [(ref, known) for ref, known in self._known.items() if known.due_s <= self._clock_s()]
        for ref, known in due:
            await self._read(ref, known)
            self._plan(known)
        return bool(due)

    def _plan(self, known: _KnownKey) -> None:
        if known.digest is not None:
            known.due_s, known.retry_s = self._clock_s() + REFRESH_S, FIRST_RETRY_S
        else:
            known.due_s = self._clock_s() + known.retry_s
            known.retry_s = min(known.retry_s * 2, LONGEST_RETRY_S)

    async def _read(self, ref: SecretKeyRef, known: _KnownKey) -> None:
        """Learn the key that `ref` stands for now; forget it only when the server says that it is gone."""
        try:
            secret = await self._client.get(f"/api/v1/namespaces/{ref.namespace}/secrets/{ref.name}")
            key = base64.b64decode((secret.get("data") or {}).get(ref.key, "")).decode().strip()
        except FAILURES as error:
            if isinstance(error, KubeError) and error.status == _NOT_FOUND:
                known.digest = None
            consequence = "the key last read stays valid" if known.digest else "its holders get 401"
            known.problem = f"{_where(ref)} cannot be read ({error}); {consequence}"
            return
        known.digest = key_digest(key) if key else None
        known.problem = "" if key else f"{_where(ref)} is missing or empty; add it to the Secret"


def _where(ref: SecretKeyRef) -> str:
    return f"Secret {ref.namespace}/{ref.name} key {ref.key!r}"


def _shared(ref: SecretKeyRef, owner: str, other: str) -> str:
    return (
        f"the TenantQuotas of tenants {owner!r} and {other!r} have the same API key, which stands for {owner!r}: "
        f"give {other!r} another one in {_where(ref)}"
    )
