import base64
from typing import Any, cast

from gateway_rig import tenant

from tierline.api.policy import SecretKeyRef
from tierline_gateway.keys import KeyTable
from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.keys import SecretKeys


def owner(name: str) -> Any:
    return tenant(name, namespace="ns", api_key_refs=(SecretKeyRef("ns", f"{name}-key", "key"),))


ACME, ZETA = owner("acme"), owner("zeta")


class Server:
    """Answers with the Secret of that name, or raises what stands for it; time passes when a test says so."""

    def __init__(self, **secrets: Any) -> None:
        self.secrets = secrets
        self.asked: list[str] = []
        self.now_s = 0.0

    async def get(self, path: str) -> dict[str, Any]:
        name = path.removeprefix("/api/v1/namespaces/ns/secrets/").removesuffix("-key")
        self.asked.append(name)
        answer = self.secrets.get(name, KubeError(404, "not found"))
        if isinstance(answer, Exception):
            raise answer
        return {"data": {name: base64.b64encode(value.encode()).decode() for name, value in answer.items()}}


def keys_of(server: Server) -> SecretKeys:
    return SecretKeys(cast("KubeClient", server), lambda: server.now_s)


async def read_again(keys: SecretKeys, server: Server, *tenants: Any) -> tuple[KeyTable, list[str]]:
    server.now_s += 30
    assert await keys.read_due(tenants)
    return keys.table(tenants)


async def test_a_key_is_read_and_rotated() -> None:
    server = Server(acme={"key": "sk-1\n"})
    keys = keys_of(server)
    table, _ = await read_again(keys, server, ACME)
    assert table.tenant_of("sk-1") == "acme"
    server.secrets["acme"] = {"key": "sk-2"}
    table, problems = await read_again(keys, server, ACME)
    assert (table.tenant_of("sk-1"), table.tenant_of("sk-2")) == (None, "acme")
    assert not problems


async def test_an_api_server_that_is_away_takes_no_key_away() -> None:
    server = Server(acme={"key": "sk-1"})
    keys = keys_of(server)
    await read_again(keys, server, ACME)
    for failure in (OSError("refused"), KubeError(503, "starting"), KubeError(401, "token"), KubeError(403, "role")):
        server.secrets["acme"] = failure
        table, problems = await read_again(keys, server, ACME)
        assert table.tenant_of("sk-1") == "acme"
        assert "stays valid" in problems[0]


async def test_a_deleted_secret_ends_its_key() -> None:
    server = Server(acme={"key": "sk-1"})
    keys = keys_of(server)
    await read_again(keys, server, ACME)
    server.secrets.clear()
    table, problems = await read_again(keys, server, ACME)
    assert table.tenant_of("sk-1") is None
    assert "ns/acme-key" in problems[0]


async def test_a_missing_field_of_the_secret_is_named() -> None:
    server = Server(acme={"other": "x"})
    table, problems = await read_again(keys_of(server), server, ACME)
    assert not table.tenants
    assert "'key' is missing or empty" in problems[0]


async def test_only_the_missing_key_is_asked_for_again_and_ever_less_often() -> None:
    server = Server(acme={"key": "sk-1"})
    keys = keys_of(server)
    reads: list[float] = []
    for second in range(64):
        server.now_s, server.asked = float(second), []
        await keys.read_due([ACME, ZETA])
        if "zeta" in server.asked:
            reads.append(server.now_s)
        assert ("acme" in server.asked) == (second % 15 == 0)
    assert reads == [0, 1, 3, 7, 15, 31, 61]


async def test_a_missing_key_that_came_is_read_like_any_other() -> None:
    server = Server()
    keys = keys_of(server)
    await keys.read_due([ZETA])
    server.secrets["zeta"] = {"key": "sk-9"}
    server.now_s = 1.0
    assert await keys.read_due([ZETA])
    assert keys.table([ZETA])[0].tenant_of("sk-9") == "zeta"
    server.now_s = 15.9
    assert not await keys.read_due([ZETA])


async def test_a_key_of_two_tenants_is_the_first_ones_and_both_are_named() -> None:
    server = Server(acme={"key": "sk-1"}, zeta={"key": "sk-1"})
    keys = keys_of(server)
    for tenants in ((ACME, ZETA), (ZETA, ACME)):
        table, problems = await read_again(keys, server, *tenants)
        assert table.tenant_of("sk-1") == "acme"
        (problem,) = problems
        assert "'acme' and 'zeta'" in problem
        assert "ns/zeta-key" in problem
