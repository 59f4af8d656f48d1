"""PodDisruptionBudgets on servers from before and after `policy/v1`."""

import pytest

from tierline_operator.cluster import APPLY, Call, Cluster
from tierline_operator.kinds import DISRUPTION_BUDGET

PATH = DISRUPTION_BUDGET.path("demo", "chat-main")
BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "chat-main"}}


class Served(Cluster):
    """A client of a server that serves the given versions of the group and answers with what it got."""

    def __init__(self, *versions):
        super().__init__("nowhere")
        self.versions = versions
        self.asked = []

    async def _once(self, call):
        self.asked.append(call)
        if call.path == "/apis/policy":
            return {"versions": [{"groupVersion": version} for version in self.versions]}
        return dict(call.body or {})


@pytest.mark.parametrize(
    ("served", "version"),
    [
        (("policy/v1beta1",), "policy/v1beta1"),
        (("policy/v1", "policy/v1beta1"), "policy/v1"),
        (("policy/v1",), "policy/v1"),
    ],
)
async def test_a_budget_is_written_in_the_version_that_is_served_and_read_as_ours(served, version):
    cluster = Served(*served)
    answer = await cluster.once(Call("PATCH", PATH, body=BUDGET, content_type=APPLY))
    sent = cluster.asked[-1]
    assert (sent.path, sent.body["apiVersion"]) == (PATH.replace("policy/v1", version), version)
    assert answer == BUDGET


async def test_the_server_is_asked_for_its_versions_once_and_only_for_budgets():
    cluster = Served("policy/v1beta1")
    await cluster.once(Call("GET", "/api/v1/pods"))
    assert [call.path for call in cluster.asked] == ["/api/v1/pods"]
    for _ in range(2):
        await cluster.once(Call("GET", PATH))
    assert [call.path for call in cluster.asked].count("/apis/policy") == 1
