"""Bodies that nobody thought of: each is answered, or refused with an error that names what is wrong; none is a 500."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec
import pytest
from fake_wire_worker import FakeWorker, letter_tokenizer
from gateway_rig import Rig, policy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierline_gateway.front.openai_requests import ChatRequest, CompletionRequest
from tierline_gateway.front.openapi import openapi_document
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery

MESSAGES = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
SOUND = {
    "/v1/chat/completions": {"model": "m", "messages": MESSAGES, "max_tokens": 2},
    "/v1/completions": {"model": "m", "prompt": "hi", "max_tokens": 2},
    "/tokenize": {"model": "m", "prompt": "hi"},
    "/detokenize": {"model": "m", "tokens": [1]},
}
FIELDS = sorted(
    {field.encode_name for kind in (ChatRequest, CompletionRequest) for field in msgspec.structs.fields(kind)}
    - {"model"}
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 1, 2, 2**31, 2**63, 2**64, 10**400])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["m", "auto", "none", "required", "text", "json_object", "json_schema", "function", "user", "tool"]
    )
)
NAMES = st.sampled_from(["type", "function", "name", "schema", "json_schema", "role", "content", "regex", "grammar"])
VALUES = st.recursive(
    SCALARS | st.sampled_from([MESSAGES, TOOLS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)


class Running:
    """A gateway with a worker that runs while it is asked."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.rig = self.runner.run(self._start())
        self.session = self.runner.run(self._session())

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        return self.runner.run(self._post(path, body))

    def close(self) -> None:
        self.runner.run(self.session.close())
        self.runner.run(self.rig.close())
        self.runner.close()

    async def _start(self) -> Rig:
        source, discovery = StaticPolicySource(policy()), StaticDiscovery()
        service = GatewayService(source, discovery, "demo/gw-0", fleet="fleet")
        service.own.tokenizer = letter_tokenizer()
        servers = GatewayServers(service)
        await servers.start("127.0.0.1", 0, 0)
        service.start()
        rig = Rig(source, discovery, service, servers)
        await rig.add_worker(FakeWorker("w0", requests=256))
        return rig

    async def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={"Authorization": "Bearer key-acme"})

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        async with asyncio.timeout(30), self.session.post(f"{self.rig.url}{path}", data=json.dumps(body)) as answer:
            return answer.status, await answer.text()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(SOUND)), changes=CHANGES)
def test_any_body_is_answered_or_refused_by_name(running: Running, path: str, changes: dict[str, Any]) -> None:
    status, text = running.post(path, SOUND[path] | {"max_tokens": 2} | changes)
    assert status in {200, 400, 404, 429}, text
    if status != 200:
        assert json.loads(text)["error"]["message"]
    elif '"error"' in text.partition("\n")[0]:
        assert "could not go on" not in text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(SOUND)), body=VALUES | st.lists(VALUES, max_size=2))
def test_any_json_is_no_body(running: Running, path: str, body: Any) -> None:
    status, text = running.post(path, body)
    assert status == 400, text
    assert json.loads(text)["error"]["message"]


def test_the_document_describes_what_is_decoded(running: Running) -> None:
    schemas = openapi_document()["components"]["schemas"]
    assert set(FIELDS) <= set(schemas["ChatRequest"]["properties"]) | set(schemas["CompletionRequest"]["properties"])
    assert schemas["ChatRequest"]["properties"]["temperature"]["anyOf"][0]["maximum"] == 2
    assert set(SOUND) < set(openapi_document()["paths"])
