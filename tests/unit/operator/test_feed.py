"""What may happen to a list and a watch, and that it only ever costs another list."""

import asyncio
import json

import aiohttp
import pytest
from kubernetes.aio.config import ConfigException

from tierline_operator.cluster import ApiError
from tierline_operator.feed import Feed
from tierline_operator.kinds import POD
from tierline_operator.store import Store


def cut_line():
    json.loads('{"type": "MODI')


def line_too_long():
    raise ValueError("Chunk too big")


def login_file_is_being_replaced():
    raise ConfigException("Invalid kube-config file")


def disconnected():
    raise aiohttp.ServerDisconnectedError


def expired():
    raise ApiError(410, "Expired", "too old resource version")


class FailingOnce:
    """Lists one pod; the first watch, or the first list, fails."""

    def __init__(self, fail, in_list):
        self.fail, self.in_list = fail, in_list
        self.lists = self.watches = 0
        self.watching_again = asyncio.Event()

    async def pages(self, _path, _query):
        self.lists += 1
        if self.in_list and self.lists == 1:
            self.fail()
        yield [{"metadata": {"name": "a", "namespace": "demo", "uid": "u", "resourceVersion": "1"}}], "1"

    async def watch(self, _path, _query, _version):
        self.watches += 1
        if not self.in_list and self.watches == 1:
            self.fail()
        self.watching_again.set()
        await asyncio.Event().wait()
        yield {}


@pytest.mark.parametrize("in_list", [False, True])
@pytest.mark.parametrize("fail", [cut_line, line_too_long, login_file_is_being_replaced, disconnected, expired])
async def test_a_feed_lists_again_after_whatever_broke_it(fail, in_list):
    cluster, store = FailingOnce(fail, in_list), Store()
    feed = asyncio.create_task(Feed(cluster, POD, store, None).run())
    await asyncio.wait_for(cluster.watching_again.wait(), 5)
    feed.cancel()
    await asyncio.gather(feed, return_exceptions=True)
    assert cluster.lists == 2
    assert [it["metadata"]["name"] for it in store.all()] == ["a"]
