"""What the agent cannot run it refuses, visibly and not too fast."""

import pytest
from cluster_client import WORK_NODES, Namespace, eventually, sleeper

pytestmark = pytest.mark.controlplane


async def test_an_unsupported_field_fails_the_pod_and_is_named(namespace: Namespace) -> None:
    mount = {"name": "data", "mountPath": "/data"}
    await namespace.run(
        "refused",
        sleeper(volumeMounts=[mount]),
        volumes=[{"name": "data", "hostPath": {"path": "/"}}],
        hostNetwork=True,
    )
    pod = await namespace.until("refused", lambda status: status.get("phase") == "Failed")
    status = pod["status"]
    assert status["reason"] == "UnsupportedPodSpec"
    for field in ("spec.hostNetwork", "spec.volumes[0].hostPath", "spec.containers[0].volumeMounts[0].mountPath"):
        assert field in status["message"]
    events = await eventually(lambda: namespace.events("UnsupportedPodSpec"), what="an event")
    assert "spec.hostNetwork" in events[0]["message"]
    await namespace.delete("refused")
    await namespace.gone("refused", 5)


async def test_an_owner_that_replaces_refused_pods_is_slowed_down(namespace: Namespace) -> None:
    labels = {"app": "loop"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"hostPID": True, "containers": [sleeper()], "nodeSelector": WORK_NODES},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    await namespace.create("replicasets", {"metadata": {"name": "loop"}, "spec": spec}, "apis/apps/v1")

    async def several() -> bool:
        return len([pod for pod in await namespace.pods() if pod["status"]["phase"] == "Failed"]) >= 2

    await eventually(several, what="two refused pods")
    assert len(await namespace.pods()) <= 4
    await namespace.api.delete(namespace.path("replicasets", "loop", "apis/apps/v1"))
