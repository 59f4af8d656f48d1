"""The shared store of one pod, over a socket in its file system: a length and a msgpack body each way."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tierline_gateway.shared.local_store import LocalStore
from tierline_gateway.shared.store import Exchange, Shared, StoreUnavailable

ANSWER_S: Final = 0.25
_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 16 * 1024 * 1024


class SocketStore:
    """A process's side, for one fleet (empty: the gateway's own); connects when it needs to."""

    def __init__(self, path: Path, fleet: str = "") -> None:
        self._path = path
        self._fleet = fleet
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, exchange: Exchange) -> Shared:
        """Ask the supervisor; raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._streams is None:
                    self._streams = await asyncio.open_unix_connection(str(self._path))
                reader, writer = self._streams
                _send(writer, msgspec.msgpack.encode(msgspec.structs.replace(exchange, fleet=self._fleet)))
                return msgspec.msgpack.decode(await _received(reader), type=Shared)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, msgspec.MsgspecError) as error:
            # A late answer must not be taken for the next one's.
            await self.close()
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def serve_store(make_store: Callable[[], LocalStore], path: Path) -> asyncio.Server:
    """Serve at `path` until the server is closed, with a store for each fleet."""
    stores: defaultdict[str, LocalStore] = defaultdict(make_store)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError, asyncio.CancelledError):
            while True:
                exchange = msgspec.msgpack.decode(await _received(reader), type=Exchange)
                _send(writer, msgspec.msgpack.encode(stores[exchange.fleet].merge(exchange)))
        writer.close()

    return await asyncio.start_unix_server(answer, str(path))


def _send(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


async def _received(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if length > _MOST_BYTES:
        raise msgspec.DecodeError(f"{length} bytes are more than a pod's gateways tell each other")
    return await reader.readexactly(length)
