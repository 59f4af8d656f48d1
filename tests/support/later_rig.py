"""A gateway with a store, for tests of what is answered later: it can die and come back over the same directory."""

import asyncio
from pathlib import Path

import aiohttp
from fake_wire_worker import letter_tokenizer
from gateway_rig import Rig, policy

from tierline_gateway.deferred.later import Later
from tierline_gateway.deferred.sqlite_store import SQLiteStore
from tierline_gateway.deferred.store import RecordStore
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import PolicySnapshot, StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery


class LaterRig(Rig):
    later: Later
    session: aiohttp.ClientSession
    work: asyncio.Task[None]

    async def see(self, path: str, key: str = "key-acme", method: str = "GET") -> tuple[int, dict, dict]:
        sent = {"Authorization": f"Bearer {key}"}
        async with self.session.request(method, self.url + path, headers=sent) as response:
            return response.status, dict(response.headers), await response.json()

    async def close(self) -> None:
        self.work.cancel()
        await self.session.close()
        await self.later.stop()
        await super().close()
        await self.later.close()

    async def lease_ends(self, kind: str, holder: str, record_id: str) -> None:
        """Let so much time pass that a dead holder holds something no longer."""
        assert await self.later._store.renew(kind, holder, [record_id], 0.0) == {record_id}

    async def die(self) -> None:
        """Go away without a word: what is held stays held until its lease ends."""
        self.work.cancel()
        for holding in (self.later.tickets.holding, self.later.batches.holding):
            await holding.abandon()
        await self.close()


async def opened(kept: Path | RecordStore, snapshot: PolicySnapshot | None = None, holder: str = "g0") -> LaterRig:
    """Return a gateway that keeps answers in a directory or a store, which is closed with it."""
    source, discovery = StaticPolicySource(snapshot or policy()), StaticDiscovery()
    service = GatewayService(source, discovery, f"demo/{holder}", fleet="fleet")
    service.own.tokenizer = letter_tokenizer()
    later = Later(service, SQLiteStore(kept) if isinstance(kept, Path) else kept, holder)
    servers = GatewayServers(service, later)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    rig = LaterRig(source, discovery, service, servers)
    rig.later, rig.session = later, aiohttp.ClientSession()
    rig.work = asyncio.create_task(later.run())
    return rig
