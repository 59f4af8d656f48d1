"""What stores keep beside the objects."""

from typing import Any

import pytest

from tierline_operator.cluster import environment_proxy
from tierline_operator.stores import ADAPTERS, Stores
from tierline_operator.wakes import WakeKey, Wakes


def fleet(name: str, version: int, *guests: str) -> dict[str, Any]:
    metadata = {"namespace": "demo", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"kind": "LLMFleet", "metadata": metadata, "spec": {"gateway": {"fleetRefs": list(guests)}}}


def test_the_hosts_of_a_fleet_follow_what_fleets_declare():
    client: Any = None
    stores = Stores(client, (), Wakes())
    stores.note(fleet("front", 1, "chat", "code"))
    stores.note(fleet("other", 2, "chat"))
    assert stores.hosts("demo", "chat") == ("front", "other")
    assert stores.hosts("elsewhere", "chat") == ()
    stores.note(fleet("front", 3, "code"))
    assert (stores.hosts("demo", "chat"), stores.hosts("demo", "code")) == (("other",), ("front",))


def pod(version: int, *, ready: bool = True, owner: str = "main", restarts: int = 0, **status: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready)}
    told = {"conditions": [condition], "podIP": "10.0.0.7", "containerStatuses": [{"restartCount": restarts}], **status}
    owners = [{"kind": "WorkerPool", "name": owner, "uid": owner}]
    metadata = {"namespace": "demo", "name": "main-1", "uid": "p", "ownerReferences": owners}
    return {"kind": "Pod", "metadata": {**metadata, "resourceVersion": str(version)}, "spec": {}, "status": told}


@pytest.mark.parametrize(
    ("before", "now", "calls"),
    [
        (None, {"ready": False}, 0),
        (None, {}, 1),
        ({"ready": False}, {}, 1),
        ({}, {"phase": "Running"}, 0),
        ({}, {"restarts": 1}, 1),
        ({}, {"podIP": "10.0.0.8"}, 1),
        ({}, {"owner": "other"}, 1),
        ({"ready": False}, {"ready": False, "phase": "Running"}, 0),
    ],
)
def test_adapters_are_looked_at_when_a_worker_gets_ready_or_starts_anew(before, now, calls):
    client: Any = None
    wakes, called = Wakes(), []
    stores = Stores(client, (), wakes)
    for name in ("main", "other"):
        metadata = {"namespace": "demo", "name": name, "uid": name, "resourceVersion": "1"}
        stores.note({"kind": "WorkerPool", "metadata": metadata, "spec": {"fleetRef": "chat"}})
    if before is not None:
        stores.note(pod(1, **before))
    wakes.register(WakeKey(ADAPTERS, "demo", "chat"), lambda: called.append(1))
    stores.note(pod(2, **now))
    assert len(called) == calls


def test_fleets_are_called_for_what_a_tier_declares_and_not_for_its_status():
    client: Any = None
    wakes, called = Wakes(), []
    stores = Stores(client, (), wakes)
    wakes.register(WakeKey("LLMFleet", "demo", "chat"), lambda: called.append(1))

    def tier(version: int, priority: int, **status: Any) -> dict[str, Any]:
        metadata = {"name": "gold", "uid": "gold", "resourceVersion": str(version)}
        return {"kind": "SLOTier", "metadata": metadata, "spec": {"priority": priority}, "status": status}

    stores.note(tier(1, priority=1))
    stores.note(tier(2, priority=1, writer="ops/operator"))
    assert len(called) == 1
    stores.note(tier(3, priority=2))
    assert len(called) == 2


@pytest.mark.parametrize(
    ("server", "proxy"),
    [("https://api.example:6443", "http://proxy:3128"), ("https://10.0.0.1:443", None), ("http://api.example", None)],
)
def test_the_proxy_of_the_environment_is_used_where_the_environment_says_so(monkeypatch, server, proxy):
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.1")
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    assert environment_proxy(server) == proxy
