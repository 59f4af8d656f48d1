"""A busy, forgetful or upgraded API server, and somebody who writes against the operator: all comes back."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from api_proxy import SickProxy
from operator_testing import eventually, fleet, is_ready

from tierline_devcluster.components.control_plane import STORE
from tierline_devcluster.faults import kill_store
from tierline_devcluster.supervising.state import StateDir
from tierline_operator.cluster import MERGE_PATCH, Call, Cluster
from tierline_operator.feed import TRANSIENT

pytestmark = pytest.mark.controlplane

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RECOVERY_SECONDS = 20.0
QUIET_SECONDS = 4.0


async def consistently(look, what, seconds=QUIET_SECONDS):
    """Fail when `look` is ever false within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert await look(), f"not all the time: {what}"
        await asyncio.sleep(0.1)


@pytest.fixture
async def proxy(world, tmp_path):
    async with SickProxy(world.kubeconfig, tmp_path).running() as running:
        yield running


async def start_ready_fleet(world, start_operator, **connect):
    operator = start_operator(**connect)
    await world.objects.create(fleet("chat", world.name, (world.name,)))
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    return operator


def names(pods):
    return [pod["metadata"]["name"] for pod in pods]


async def test_a_busy_server_stops_nothing_for_good(world, start_operator, proxy):
    await start_ready_fleet(world, start_operator, connect=lambda: Cluster(proxy.kubeconfig))
    await proxy.break_and_busy()
    await world.objects.delete("Pod", "chat-main-1")

    async def nothing_new():
        return set(names(await world.objects.workers())) <= {"chat-main-2"}

    async def deleted():
        return names(await world.objects.workers()) == ["chat-main-2"]

    await eventually(deleted, "the worker is gone")
    await consistently(nothing_new, "nobody replaces it while the server refuses everything")
    assert proxy.refused > 0
    proxy.busy = False
    await eventually(lambda: _ready(world, 2), "the worker is replaced", RECOVERY_SECONDS)
    await world.objects.until_workers("chat-main-2", "chat-main-3")


@pytest.mark.virtualnodes
async def test_a_store_that_dies_and_comes_back_loses_nothing(world, start_operator, control_plane):
    await start_ready_fleet(world, start_operator)
    before = await identities(world)
    state = StateDir(control_plane.state_dir)
    (killed,) = living_stores(state)
    kill_store(state)

    async def another():
        return [pid for pid in living_stores(state) if pid != killed]

    await eventually(another, "the store is started again", RECOVERY_SECONDS)
    await eventually(lambda: answers(world), "the store is back", RECOVERY_SECONDS)
    assert await identities(world) == before
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")
    await eventually(lambda: _ready(world, 3), "the operator goes on", RECOVERY_SECONDS)
    assert before.items() <= (await identities(world)).items()


def living_stores(state):
    return [record.pid for record in state.processes() if record.name == STORE and record.is_alive()]


async def answers(world):
    try:
        await world.cluster.request(Call("GET", f"/api/v1/namespaces/{world.name}"))
    except TRANSIENT:
        return False
    return True


async def identities(world):
    """Return the uid of everything that a fleet is made of, by kind and name."""
    kinds = ("LLMFleet", "WorkerPool", "Pod", "Deployment", "Service", "Role", "ControllerRevision")
    found = [(kind, obj["metadata"]) for kind in kinds for obj in await world.objects.every(kind)]
    return {(kind, metadata["name"]): metadata["uid"] for kind, metadata in found}


async def test_a_server_that_forgot_old_versions_costs_no_event(world, start_operator, proxy):
    await start_ready_fleet(world, start_operator, connect=lambda: Cluster(proxy.kubeconfig))
    proxy.forget_versions(seconds=1.0)
    await world.objects.delete("Pod", "chat-main-1")
    await world.objects.delete("Service", "chat-gateway")

    async def restored():
        return await world.objects.get("Service", "chat-gateway") and await _ready(world, 2)

    await eventually(restored, "what was deleted in the gap is back", RECOVERY_SECONDS)
    assert proxy.expired > 0
    await world.objects.until_workers("chat-main-2", "chat-main-3")


async def test_an_operator_that_cannot_renew_its_lease_stops_writing_and_the_next_one_goes_on(
    world, start_operator, proxy
):
    elected = replace(world.settings, elects_leader=True)
    first = await start_ready_fleet(world, start_operator, settings=elected, connect=lambda: Cluster(proxy.kubeconfig))
    second = start_operator(replace(elected, identity="operator-b"))
    await proxy.break_and_busy()

    async def second_leads():
        return second.leads

    await eventually(second_leads, "the second replica leads", RECOVERY_SECONDS)
    proxy.busy = False
    await world.objects.patch("WorkerPool", "chat-main", {"spec": {"replicas": 3}}, "scale")
    await world.objects.until_workers("chat-main-1", "chat-main-2", "chat-main-3")

    async def as_many():
        return len(await world.objects.workers()) == 3

    await consistently(as_many, "two replicas never make four workers", QUIET_SECONDS / 2)
    first.stop()


async def test_who_writes_against_the_operator_is_answered_write_for_write_and_no_more(world, start_operator):
    operator = await start_ready_fleet(world, start_operator)
    before, theirs = operator.writes("Deployment"), 20
    for _ in range(theirs):
        await world.objects.patch("Deployment", "chat-gateway", {"spec": {"replicas": 0}})
        await asyncio.sleep(0.05)

    async def restored():
        gateway = await world.objects.get("Deployment", "chat-gateway")
        return gateway["spec"]["replicas"] == 1

    await eventually(restored, "the gateway is wanted again", RECOVERY_SECONDS)
    assert operator.writes("Deployment") - before <= theirs
    await world.objects.until("LLMFleet", "chat", "Ready", "True")
    await consistently(restored, "it stays so", QUIET_SECONDS / 2)


async def test_crds_may_be_upgraded_under_running_fleets(world, start_operator):
    await start_ready_fleet(world, start_operator)
    before = {pod["metadata"]["uid"] for pod in await world.objects.workers()}
    crd = yaml.safe_load((Path(__file__).parents[3] / "crds/llmfleets.yaml").read_text())
    path = f"{CRDS}/{crd['metadata']['name']}"
    columns = {"spec": {"versions": [_with_another_column(crd["spec"]["versions"][0])]}}
    try:
        await world.cluster.request(Call("PATCH", path, body=columns, content_type=MERGE_PATCH))

        async def same():
            return {pod["metadata"]["uid"] for pod in await world.objects.workers()} == before

        await consistently(same, "no worker is touched", QUIET_SECONDS / 2)
        await world.objects.patch("LLMFleet", "chat", {"spec": {"drainSeconds": 2}})
        await world.objects.until_workers("chat-main-3", "chat-main-4")
    finally:
        original = {"spec": {"versions": crd["spec"]["versions"]}}
        await world.cluster.request(Call("PATCH", path, body=original, content_type=MERGE_PATCH))


def _with_another_column(version):
    column = {"name": "Drain", "type": "integer", "jsonPath": ".spec.drainSeconds", "priority": 1}
    return {**version, "additionalPrinterColumns": [*version["additionalPrinterColumns"], column]}


async def _ready(world, count):
    pods = await world.objects.workers()
    return len(pods) == count and all(map(is_ready, pods))
