"""What stores keep beside the objects."""

from typing import Any

import pytest

from tierline_operator.cluster import environment_proxy
from tierline_operator.stores import Stores
from tierline_operator.wakes import Wakes


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
