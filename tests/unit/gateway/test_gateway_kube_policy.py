"""The policy follows resources at once, whatever the reading of keys waits for, and keeps nothing of what is gone."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.policy import KubePolicySource


class Server:
    """Has the Secrets in `keys`; `gate` holds answers back."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        await self.gate.wait()
        if name not in self.keys:
            raise KubeError(404, "not found")
        return {"data": {"key": base64.b64encode(self.keys[name].encode()).decode()}}


def quota(name: str, **spec: Any) -> dict[str, Any]:
    refs = [{"name": f"{name}-key", "key": "key"}]
    return {
        "apiVersion": "tierline.dev/v1alpha1",
        "kind": "TenantQuota",
        "metadata": {"name": name, "namespace": "demo", "uid": f"uid-{name}"},
        "spec": {"tenant": name, "tierRefs": ["fast"], "apiKeySecretRefs": refs} | spec,
    }


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def source(server: Server) -> AsyncIterator[KubePolicySource]:
    made = KubePolicySource(cast("KubeClient", server), "demo", "fleet")
    tiers, _, fleets = made.feeds
    tiers.store.replace([])
    fleets.store.replace([])
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def declare(source: KubePolicySource, *quotas: dict[str, Any]) -> None:
    source.feeds[1].store.replace(quotas)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the source tells nobody when its state changes
            await asyncio.sleep(0.002)


def tenants(source: KubePolicySource) -> set[str]:
    return set(source.current.policy.tenants) if source.current else set()


def holder(source: KubePolicySource, key: str) -> str | None:
    return source.current.keys.tenant_of(key) if source.current else None


async def test_the_first_policy_comes_with_its_keys(server: Server, source: KubePolicySource) -> None:
    server.gate.clear()
    server.keys["acme-key"] = "sk-1"
    declare(source, quota("acme"))
    await until(lambda: server.asked)
    assert source.current is None, "a policy without keys would turn everybody away"
    server.gate.set()
    await until(lambda: source.current)
    assert holder(source, "sk-1") == "acme"


async def test_a_new_policy_does_not_wait_for_its_keys(server: Server, source: KubePolicySource) -> None:
    server.keys |= {"acme-key": "sk-1", "zeta-key": "sk-2"}
    declare(source, quota("acme"))
    await until(lambda: holder(source, "sk-1"))
    server.gate.clear()
    declare(source, quota("acme", weight=7), quota("zeta"))
    await until(lambda: "zeta" in tenants(source))
    assert holder(source, "sk-1") == "acme"
    assert holder(source, "sk-2") is None
    server.gate.set()
    await until(lambda: holder(source, "sk-2") == "zeta")
    assert server.asked == ["acme-key", "zeta-key"], "a key that is known is not read again for a new one"


async def test_an_object_that_turned_invalid_counts_as_it_was_until_it_is_gone(
    server: Server, source: KubePolicySource, caplog: pytest.LogCaptureFixture
) -> None:
    declare(source, quota("acme"))
    await until(lambda: "acme" in tenants(source))
    declare(source, quota("acme", weight="heavy"))
    await until(lambda: "weight" in caplog.text)
    assert tenants(source) == {"acme"}
    declare(source)
    await until(lambda: not tenants(source))
    declare(source, quota("acme", weight="heavy"))
    await until(lambda: caplog.text.count("weight") == 2)
    assert not tenants(source), "nothing is kept of an object that was deleted"
