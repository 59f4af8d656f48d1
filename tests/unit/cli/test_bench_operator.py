"""The parts of the operator's benchmark that need no cluster."""

import asyncio
import ipaddress
import json
import os
import time

from rich.console import Console

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline_cli.bench.operator.command import POD_NETWORK
from tierline_cli.bench.operator.fleets import fleet
from tierline_cli.bench.operator.phases import OperatorSizes
from tierline_cli.bench.operator.process import OperatorProcess
from tierline_cli.bench.operator.report import Report
from tierline_cli.bench.operator.stations import STATIONS, Stations


def added(fleet_name, number):
    labels = {"tierline.dev/fleet": fleet_name}
    return {"type": "ADDED", "object": {"metadata": {"uid": f"{fleet_name}-{number}", "labels": labels}}}


def pool(fleet_name, attempts=0):
    status = {"lastAttempt": attempts} if attempts else {}
    return {"type": "MODIFIED", "object": {"spec": {"fleetRef": fleet_name}, "status": status}}


class OneWatch:
    """A cluster with one pod at first, and watches that tell the given events and then nothing more."""

    def __init__(self, pods=(), pools=()):
        self.told = {"pods": pods, "workerpools": pools}

    async def list_all(self, path, _query):
        return [added("a", 0)["object"]] if path.endswith("/pods") else [], "1"

    async def watch(self, path, _query, _version):
        for event in self.told[path.rpartition("/")[2]]:
            yield event
        await asyncio.Event().wait()


async def watched(stations, *names):
    task = asyncio.create_task(stations.run())
    await asyncio.wait_for(stations.until(names), 5)
    task.cancel()


async def test_a_fleet_is_complete_with_the_last_of_its_workers_each_counted_once():
    stations = Stations(OneWatch([added("a", 0), added("b", 0), added("b", 1), added("c", 0)]), pods_per_fleet=2)
    await watched(stations, "b")
    complete = {name for name, passed in stations.passed_at.items() if "last_pod" in passed}
    assert complete == {"b"}, "the first pod of a was told of twice"
    assert stations.complete == 1


async def test_a_fleet_passes_all_stations_on_its_way_to_its_workers():
    told = OneWatch([added("b", 0), added("b", 1)], [pool("b"), pool("b", attempts=2), pool("c", attempts=1)])
    stations = Stations(told, pods_per_fleet=2)
    began = time.monotonic()
    stations.note("b", "accepted")
    await watched(stations, "b")
    taken = stations.since({"b": began})
    assert tuple(taken) == STATIONS
    assert 0 <= taken["accepted"]["p50"] <= taken["last_pod"]["p99"]
    assert set(stations.passed_at["c"]) == {"pool"}, "one worker of two is recorded"


def test_what_was_measured_is_in_the_file_before_the_next_phase_begins(tmp_path):
    file = tmp_path / "out" / "operator.json"
    report = Report(file, tmp_path, {"fleets": 3}, Console(quiet=True))
    report.add("started", {"start_seconds": 1.5})
    told = json.loads(file.read_text())
    assert (told["sizes"], told["start_seconds"], told["complete"]) == ({"fleets": 3}, 1.5, False)
    report.end()
    assert json.loads(file.read_text())["complete"]


def test_sizes_may_be_given_one_by_one():
    assert OperatorSizes().but(fleets=200, nodes=None) == OperatorSizes(fleets=200)


def test_its_fleets_are_valid():
    assert parse(LLMFleet, fleet("f", 5)).spec.pools[0].replicas.max == 5


def test_a_process_is_seen_from_outside():
    this = OperatorProcess(os.getpid(), "http://127.0.0.1:1")
    assert this.lives
    assert this.memory_mb() > 1
    assert this.cpu_seconds() > 0


def test_pods_have_addresses_that_endpoints_take_and_to_which_nothing_leaves_the_machine():
    address = ipaddress.ip_address(POD_NETWORK)
    assert address.is_multicast
    assert address not in ipaddress.ip_network("224.0.0.0/24"), "link-local multicast is refused"
