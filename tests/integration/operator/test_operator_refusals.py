"""What others have in the way of a fleet: objects of its children's names, and limits that refuse its workers."""

import pytest
from operator_testing import eventually, fleet

from tierline_operator.cluster import Call

pytestmark = pytest.mark.controlplane


async def test_a_users_own_service_of_a_gateways_name_is_left_alone(world, start_operator):
    spec = {"selector": {"app": "theirs"}, "ports": [{"port": 9}]}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "chat-gateway"}, "spec": spec}
    await world.objects.create(theirs)
    start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    accepted = await world.objects.until("LLMFleet", "chat", "Accepted", "False", "NameTaken")
    assert "Service chat-gateway" in accepted["message"]
    live = await world.objects.get("Service", "chat-gateway")
    assert (live["spec"]["selector"], live["metadata"].get("ownerReferences")) == ({"app": "theirs"}, None)
    assert await world.objects.every("WorkerPool") == []

    await world.objects.delete("Service", "chat-gateway")
    await world.objects.until("LLMFleet", "chat", "Ready", "True")


async def test_workers_that_the_server_refuses_are_tried_again_with_pauses(world, start_operator):
    limits = {"limits": [{"type": "Pod", "min": {"cpu": "1000"}}]}
    path = f"/api/v1/namespaces/{world.name}/limitranges"
    await world.cluster.request(Call("POST", path, body={"metadata": {"name": "huge"}, "spec": limits}))
    operator = start_operator()
    await world.objects.create(fleet("chat", world.name, (world.name,)))

    first = await world.objects.until("WorkerPool", "chat-main", "Ready", "False", "WriteRefused")
    assert '"chat-main-*" is forbidden' in first["message"]
    looks, writes = operator.looks("WorkerPool"), operator.writes("WorkerPool")

    async def looked_again():
        return operator.looks("WorkerPool") >= looks + 3

    await eventually(looked_again, "the operator tries again")
    assert operator.writes("WorkerPool") - writes <= operator.looks("WorkerPool") - looks + 1, "one record a try"
    assert await world.objects.condition("WorkerPool", "chat-main", "Ready") == first
    assert len(await world.objects.until_events("WriteRefused", "WorkerPool", 1)) == 1

    await world.cluster.request(Call("DELETE", f"{path}/huge"))

    async def made():
        return len(await world.objects.workers()) == 2

    await eventually(made, "the workers are made", seconds=30)
