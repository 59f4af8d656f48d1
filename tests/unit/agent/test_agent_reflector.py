"""Lists and watches: nothing is missed and nothing stays that is gone."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from tierline_devcluster.agent.apiserver.client import ApiError
from tierline_devcluster.agent.apiserver.reflector import Reflector

Json = dict[str, Any]


def obj(uid: str, version: str = "1") -> Json:
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def listing(version: str, *uids: str) -> Json:
    return {"metadata": {"resourceVersion": version}, "items": [obj(uid) for uid in uids]}


class Script:
    """A server that answers lists and watches from a script, and then hangs."""

    def __init__(self, lists: list[Json | Exception], watches: list[list[Json | Exception]]) -> None:
        self.lists, self.watches = lists, watches
        self.versions: list[str] = []
        self.done = asyncio.Event()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        self.versions.append(params["resourceVersion"])
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


async def follow(script: Script) -> tuple[list[str], Reflector]:
    story: list[str] = []
    reflector = Reflector(
        script,
        "/things",
        lambda each: story.append(f"+{each['metadata']['uid']}"),
        lambda each: story.append(f"-{each['metadata']['uid']}"),
    )
    task = asyncio.create_task(reflector.run())
    await asyncio.wait_for(script.done.wait(), 10)
    task.cancel()
    return story, reflector


async def test_events_are_applied_and_watching_goes_on_where_it_ended() -> None:
    events = [
        {"type": "ADDED", "object": obj("b", "2")},
        {"type": "DELETED", "object": obj("a", "3")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
    ]
    script = Script([listing("1", "a")], [events])
    story, reflector = await follow(script)
    assert story == ["+a", "+b", "-a"]
    assert list(reflector.objects) == ["b"]
    assert script.versions == ["1", "9"]
    assert reflector.synced.is_set()


@pytest.mark.parametrize(
    "end",
    [
        {"type": "ERROR", "object": {"code": 410, "message": "too old"}},
        ApiError(410, "too old"),
        aiohttp.ClientPayloadError("cut"),
    ],
)
async def test_after_a_break_the_new_list_replaces_the_copy(end: Json | Exception) -> None:
    script = Script([listing("1", "a", "b"), listing("5", "b", "c")], [[end]])
    story, reflector = await follow(script)
    assert story == ["+a", "+b", "-a", "+b", "+c"]
    assert list(reflector.objects) == ["b", "c"]
    assert script.versions == ["1", "5"]


async def test_a_failing_list_is_tried_again() -> None:
    story, _ = await follow(Script([ApiError(503, "not yet"), listing("1", "a")], []))
    assert story == ["+a"]
