import base64
from typing import Any, cast

from tierline.api.policy import SecretKeyRef, TenantPolicy
from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.keys import SecretKeys

REF = SecretKeyRef("ns", "acme-key", "key")
ACME = TenantPolicy("ns", "acme", "paid", 1, (), "t", (REF,), None, None, None, None, "Isolated")


class Server:
    """Answers with the value, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/ns/secrets/acme-key"
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"data": {name: base64.b64encode(value.encode()).decode() for name, value in self.answer.items()}}


def keys_of(server: Server) -> tuple[SecretKeys, list[str]]:
    problems: list[str] = []
    return SecretKeys(cast("KubeClient", server), problems.append), problems


async def test_a_key_is_read_and_rotated() -> None:
    server = Server({"key": "sk-1\n"})
    keys, problems = keys_of(server)
    assert (await keys.read([ACME])).tenant_of("sk-1") == "acme"
    server.answer = {"key": "sk-2"}
    table = await keys.read([ACME])
    assert (table.tenant_of("sk-1"), table.tenant_of("sk-2")) == (None, "acme")
    assert not problems
    assert not keys.missing


async def test_an_api_server_that_is_away_takes_no_key_away() -> None:
    server = Server({"key": "sk-1"})
    keys, problems = keys_of(server)
    await keys.read([ACME])
    for failure in (OSError("refused"), KubeError(503, "starting"), KubeError(401, "token"), KubeError(403, "role")):
        server.answer = failure
        assert (await keys.read([ACME])).tenant_of("sk-1") == "acme"
    assert len(problems) == 4
    assert not keys.missing


async def test_a_deleted_secret_ends_its_key() -> None:
    server = Server({"key": "sk-1"})
    keys, problems = keys_of(server)
    await keys.read([ACME])
    server.answer = KubeError(404, "not found")
    assert (await keys.read([ACME])).tenant_of("sk-1") is None
    assert keys.missing
    assert "ns/acme-key" in problems[0]


async def test_a_missing_field_of_the_secret_is_named() -> None:
    keys, problems = keys_of(Server({"other": "x"}))
    assert not (await keys.read([ACME])).tenants
    assert keys.missing
    assert "'key' is missing or empty" in problems[0]
