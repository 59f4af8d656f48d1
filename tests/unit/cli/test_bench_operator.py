"""The parts of the operator's benchmark that need no cluster."""

import asyncio
import os

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline_cli.bench.operator.fleets import PodWatch, fleet
from tierline_cli.bench.operator.process import OperatorProcess


def added(fleet_name, number):
    labels = {"tierline.dev/fleet": fleet_name}
    return {"type": "ADDED", "object": {"metadata": {"uid": f"{fleet_name}-{number}", "labels": labels}}}


class OneWatch:
    """A cluster with one pod at first, and a watch that tells the given events and then nothing more."""

    def __init__(self, *events):
        self.events = events

    async def list_all(self, _path, _query):
        return [added("a", 0)["object"]], "1"

    async def watch(self, _path, _query, _version):
        for event in self.events:
            yield event
        await asyncio.Event().wait()


async def test_a_fleet_is_complete_with_the_last_of_its_workers_each_counted_once():
    watch = PodWatch(OneWatch(added("a", 0), added("b", 0), added("b", 1), added("c", 0)), pods_per_fleet=2)
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(watch.until({"b"}), 5)
    task.cancel()
    assert set(watch.complete_at) == {"b"}, "the first pod of a was told of twice"


def test_its_fleets_are_valid():
    assert parse(LLMFleet, fleet("f", 5)).spec.pools[0].replicas.max == 5


def test_a_process_is_seen_from_outside():
    this = OperatorProcess(os.getpid(), "http://127.0.0.1:1")
    assert this.lives
    assert this.memory_mb() > 1
    assert this.cpu_seconds() > 0
