"""How often a feed asks an API server that does not answer as it should."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tierline_gateway.kube.client import KubeClient, KubeError
from tierline_gateway.kube.feed import FIRST_PAUSE_S, LONGEST_PAUSE_S, Feed


class Server:
    """Lists nothing; its watches end at once, with `failure` where there is one."""

    def __init__(self, failure: KubeError | None = None) -> None:
        self.failure = failure
        self.lists = self.watches = 0

    async def get(self, path: str, query: object) -> dict[str, Any]:
        self.lists += 1
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def watch(self, path: str, query: object, version: str) -> AsyncIterator[dict[str, Any]]:
        self.watches += 1
        if self.failure is not None:
            raise self.failure
        for event in ():
            yield event


async def pauses_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Feed(cast("KubeClient", server), "/pods").run()
    return pauses


async def test_watches_that_end_at_once_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    assert await pauses_of(server, monkeypatch) == [FIRST_PAUSE_S] * 10
    assert (server.lists, server.watches) == (1, 10)


@pytest.mark.parametrize("status", [410, 403])
async def test_watches_that_are_refused_cost_ever_fewer_lists(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(KubeError(status, "no"))
    pauses = await pauses_of(server, monkeypatch)
    assert server.lists == 10
    assert pauses[0] <= FIRST_PAUSE_S
    assert pauses[-1] >= LONGEST_PAUSE_S / 2
