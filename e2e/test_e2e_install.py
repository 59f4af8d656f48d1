"""From `helm install` and a few resources to a fleet that is ready, as kubectl shows it."""

import json

from e2e_cluster import Cluster, is_ready
from e2e_house import FAST, OPERATOR, SYSTEM, House
from e2e_waiting import HANGS_SECONDS, eventually

READY_SECONDS = 30


async def test_two_operators_run_and_one_leads(system: Cluster) -> None:
    deployment = await system.get("Deployment", OPERATOR, SYSTEM)
    assert deployment is not None
    assert deployment["status"]["readyReplicas"] == 2

    async def leader() -> str:
        lease = await system.get("Lease", OPERATOR, SYSTEM)
        return str((lease or {}).get("spec", {}).get("holderIdentity", ""))

    holder = await eventually(leader, HANGS_SECONDS, "an operator holds the Lease")
    pods = {pod["metadata"]["name"] for pod in await system.every("Pod", SYSTEM)}
    assert any(pod in holder for pod in pods)


async def test_resources_become_ready_within_the_bound(house: House) -> None:
    assert house.ready_after_s < READY_SECONDS
    tiers = await house.namespace.cluster.every("SLOTier")
    quotas = await house.namespace.every("TenantQuota")
    assert all(map(is_ready, tiers))
    assert {quota["metadata"]["name"] for quota in quotas if is_ready(quota)} == {"alice", "bob"}
    status = (await house.namespace.found("LLMFleet", house.fleet))["status"]
    assert (status["replicas"], status["readyReplicas"], status["gateway"]["readyReplicas"]) == (2, 2, 1)


async def test_kubectl_shows_useful_columns(house: House) -> None:
    shown = await house.namespace.kubectl("get", "tiers")
    header, row = shown.splitlines()[0].split(), next(it for it in shown.splitlines() if it.startswith(FAST)).split()
    assert header[:3] == ["NAME", "OBJECTIVE", "PRIORITY"]
    assert row[:3] == [FAST, "Throughput", "100"]
    assert dict(zip(header[-3:], row[-3:], strict=True))["READY"] == "True"

    fleet = _only_row(await house.namespace.kubectl("get", "fleets"))
    assert (fleet["MODEL"], fleet["DESIRED"], fleet["SERVING"]) == (house.model_source, "2", "2")
    assert fleet["READY"] == "True"
    pool = _only_row(await house.namespace.kubectl("get", "wp"))
    assert (pool["FLEET"], pool["ROLE"], pool["DESIRED"], pool["SERVING"]) == (house.fleet, "Unified", "2", "2")
    quotas = await house.namespace.kubectl("get", "tq")
    assert {"TENANT", "WEIGHT", "TIERS", "READY"} <= set(quotas.splitlines()[0].split())


async def test_kubectl_wait_understands_the_fleet(house: House) -> None:
    told = await house.namespace.kubectl("wait", "fleet", house.fleet, "--for=condition=Ready", "--timeout=5s")
    assert "condition met" in told
    scale = await house.namespace.kubectl("get", "--raw", _scale_path(house))
    assert json.loads(scale)["status"]["replicas"] == 2


def _scale_path(house: House) -> str:
    return f"/apis/tierline.dev/v1alpha1/namespaces/{house.namespace.name}/workerpools/{house.fleet}-main/scale"


def _only_row(shown: str) -> dict[str, str]:
    header, row = (line.split() for line in shown.splitlines())
    return dict(zip(header, row, strict=True))
