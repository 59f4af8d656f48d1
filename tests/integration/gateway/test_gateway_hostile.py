"""What strangers send: any bytes, slowly or never ending. No crash, no 500, no memory that stays."""

import asyncio
import contextlib
import gc
import gzip
import json
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import generate_latest

from tierline_gateway.front import silence

KEY = {"Authorization": "Bearer key-acme"}
PLAIN = {"model": "m", "prompt": "hi", "max_tokens": 2}
MIB = 1024 * 1024


def rss_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def deep(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=KEY) as made:
        yield made


async def raw(rig, data: bytes) -> bytes:
    """Send bytes as they are and return what comes back until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.servers.http_port)
    writer.write(data)
    await writer.drain()
    async with asyncio.timeout(10):
        answer = await reader.read(65536)
    writer.close()
    return answer


HOSTILE_HEADS = [
    b"\x00\xff\xfe nonsense\r\n\r\n",
    b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /v1/completions HTTP/9.9\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n",
    b"GET /v1/models/%00%ff%2e%2f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-acme\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize("head", HOSTILE_HEADS)
async def test_a_hostile_head_gets_a_refusal(rig, worker, session, head) -> None:
    answer = await raw(rig, head)
    status = int(answer.split(b" ", 2)[1]) if answer else 400
    assert 400 <= status < 500, answer[:300]
    async with session.post(f"{rig.url}/v1/completions", json=PLAIN) as after:
        assert after.status == 200


HOSTILE_BODIES = [
    deep(100_000),
    b'{"model":"m","prompt":"hi","unheard_of":' + deep(2000) + b"}",
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":'
    b'{"name":"f","parameters":' + deep(900) + b"}}]}",
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"chat_template_kwargs":' + deep(900) + b"}",
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema",'
    b'"json_schema":{"schema":' + deep(900) + b"}}}",
    b'{"model":"m","prompt":"hi","max_tokens":' + b"9" * 5000 + b"}",
    b'{"model":"m","prompt":"hi","temperature":1e999}',
    b'{"model":"m","prompt":"hi","temperature":NaN}',
    b'{"model":"m","prompt":[' + b"1," * 500_000 + b"1]}",
    b'{"model":"m","prompt":"\xff\xfe"}',
    b'{"model":"m","prompt":"\\ud800"}',
    b'{"model":"m\\u0000","prompt":"hi"}',
    b'{"model":"m","prompt":"' + b"a" * (MIB * 3) + b'"}',
    b'{"model":"' + b"m" * MIB + b'","prompt":"hi"}',
    b'{"model":"m","prompt":"hi","stop":["\\u0000"],"max_tokens":1}',
    b"",
    b"\x00" * 1000,
    b"[" * 100_000,
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"])
async def test_no_body_fails_the_gateway(rig, worker, session, path, caplog) -> None:
    for body in HOSTILE_BODIES:
        async with session.post(f"{rig.url}{path}", data=body) as answer:
            text = await answer.text()
            assert answer.status < 500, (body[:80], text)
            if answer.status >= 400:
                assert json.loads(text)["error"]["message"]
                assert answer.headers["x-tierline-reason"]
    assert "Traceback" not in caplog.text


async def test_a_compressed_bomb_is_too_large(rig, session) -> None:
    bomb = gzip.compress(b"a" * (64 * MIB))
    before = rss_bytes()
    headers = {"Content-Encoding": "gzip"}
    async with session.post(f"{rig.url}/v1/completions", data=bomb, headers=headers) as answer:
        assert answer.status in {400, 413}
    assert rss_bytes() - before < 40 * MIB


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a head that never ends."""
    writer.write(b"GET /openapi.json HTTP/1.1\r\nX-Slow: ")
    while True:
        writer.write(b"a")
        await asyncio.sleep(0.01)


async def test_a_slow_head_costs_the_connection(rig, monkeypatch) -> None:
    monkeypatch.setattr(silence, "HEAD_S", 0.1)
    monkeypatch.setattr(silence, "SWEEP_S", 0.02)
    await rig.servers.stop()
    await rig.servers.start("127.0.0.1", 0, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.servers.http_port)
    kept, asking = await asyncio.open_connection("127.0.0.1", rig.servers.http_port)
    asking.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await kept.readline()).startswith(b"HTTP/1.1 200")
    dripping = asyncio.create_task(drip(writer))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    dripping.cancel()
    asking.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await kept.read()).count(b"HTTP/1.1 200") == 1
    asking.close()


async def test_ten_thousand_silent_connections(rig, worker, session) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, (min(hard, 30_000) - 500) // 2)
    before, sockets = rss_bytes(), list[socket.socket]()
    server = rig.servers._clients.server
    try:
        for _ in range(count):
            silent = socket.socket()
            silent.setblocking(False)
            silent.connect_ex(("127.0.0.1", rig.servers.http_port))
            sockets.append(silent)
            if len(sockets) % 500 == 0:
                await rig.until(lambda: len(server.connections) >= len(sockets))
        async with session.post(f"{rig.url}/v1/completions", json=PLAIN) as answer:
            assert answer.status == 200
        assert rss_bytes() - before < count * 30_000
        now_s = asyncio.get_running_loop().time()
        rig.servers._silent.close_silent(server, now_s)
        rig.servers._silent.close_silent(server, now_s + silence.HEAD_S)
        await rig.until(lambda: len(server.connections) <= 1)
        rig.servers._silent.close_silent(server, now_s)
        assert not rig.servers._silent._first_seen_s
    finally:
        for silent in sockets:
            silent.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_strangers_leave_nothing(rig, session) -> None:
    """Keys, tenants, tiers, models and ids that nobody knows: what is asked is refused and forgotten."""

    async def stranger(at: int) -> None:
        headers = {"Authorization": f"Bearer key-{at}", "x-request-id": f"id-{at}", "x-tierline-tier": f"tier-{at}"}
        known = headers | KEY
        async with session.post(f"{rig.url}/v1/completions", json={"model": f"m{at}"}, headers=headers) as answer:
            assert answer.status == 401
        async with session.post(f"{rig.url}/v1/completions", json=PLAIN | {"model": f"m{at}"}, headers=known) as answer:
            assert answer.status == 404

    for at in range(100):
        await stranger(at)
    before, series = rss_bytes(), len(generate_latest(rig.service.own.instruments.registry).splitlines())
    for at in range(100, 500):
        await stranger(at)
    assert rss_bytes() - before < 8 * MIB
    assert len(generate_latest(rig.service.own.instruments.registry).splitlines()) == series
    assert not list(rig.service.own.dispatcher.live)
