"""A replica leads only as long as its Lease is kept."""

import asyncio

import pytest

from tierline.fleet.wanted import Images
from tierline_operator import main
from tierline_operator.main import Operator
from tierline_operator.settings import Settings

SETTINGS = Settings(identity="a", namespace="ops", images=Images("w", "g"), http_host="127.0.0.1", http_port=0)


class UnreachableCluster:
    """No answer ever comes: a leader never gets beyond its first list."""

    async def pages(self, _path, _query):
        await asyncio.Event().wait()
        yield [], ""

    async def close(self):
        pass


def election_that_ends(holding):
    class Election:
        def __init__(self, *_):
            pass

        async def acquire(self):
            pass

        async def hold(self):
            await holding()

        async def release(self):
            pass

    return Election


async def lost():
    return


async def broken():
    raise KeyError("spec")


async def broken_at_the_bottom():
    raise RuntimeError("Session is closed")


@pytest.mark.parametrize("holding", [lost, broken, broken_at_the_bottom])
async def test_a_leader_stops_however_its_holding_ends(monkeypatch, holding):
    monkeypatch.setattr(main, "Election", election_that_ends(holding))
    assert await asyncio.wait_for(Operator(SETTINGS, UnreachableCluster).run(), 5) is False


async def test_a_leader_that_is_told_to_stop_has_not_lost(monkeypatch):
    monkeypatch.setattr(main, "Election", election_that_ends(asyncio.Event().wait))
    operator = Operator(SETTINGS, UnreachableCluster)
    operator.stop.set()
    assert await asyncio.wait_for(operator.run(), 5) is True
