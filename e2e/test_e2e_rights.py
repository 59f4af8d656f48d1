"""What gateway and workers may do with the cluster: no more than they need."""

import pytest
from e2e_house import House

ALLOWED = ("get secret/alice", "list pods", "watch llmfleets.tierline.dev", "list tenantquotas.tierline.dev")
FORBIDDEN = (
    "list secrets",
    "watch secrets",
    "get secret/somebody-elses",
    "delete pods",
    "create pods",
    "patch llmfleets.tierline.dev",
    "patch deployments.apps",
    "create pods/exec",
    "create serviceaccounts/token",
)


@pytest.mark.parametrize("action", ALLOWED)
async def test_a_gateway_may(house: House, action: str) -> None:
    assert await _may(house, action)


@pytest.mark.parametrize("action", FORBIDDEN)
async def test_a_gateway_may_not(house: House, action: str) -> None:
    assert not await _may(house, action)


async def test_a_gateway_may_not_look_into_other_namespaces(house: House) -> None:
    assert not await _may(house, "list pods", namespace="default")


async def test_workers_have_no_identity(house: House) -> None:
    for pod in await house.namespace.workers(house.fleet):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not pod["spec"].get("volumes")


@pytest.mark.virtualnodes
async def test_a_worker_process_finds_no_credentials(house: House) -> None:
    worker = (await house.namespace.workers(house.fleet))[0]["metadata"]["name"]
    environment = await house.namespace.kubectl("exec", worker, "--", "env")
    assert "KUBECONFIG=" not in environment
    assert "TIERLINE_MODEL_SOURCE=" in environment


async def _may(house: House, action: str, namespace: str = "") -> bool:
    account = f"system:serviceaccount:{house.namespace.name}:{house.fleet}-gateway"
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{house.namespace.name}", "system:authenticated")
    verb, resource = action.split()
    named, _, name = resource.partition("/")
    subresource = {"exec", "token"} & {name}
    attributes = {
        "namespace": namespace or house.namespace.name,
        "verb": verb,
        "resource": {"secret": "secrets"}.get(named.partition(".")[0], named.partition(".")[0]),
        "group": named.partition(".")[2],
        **({"subresource": name} if subresource else {"name": name}),
    }
    review = {"spec": {"user": account, "groups": list(groups), "resourceAttributes": attributes}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    answer = await house.namespace.cluster.api.create(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews", {**kind, **review}
    )
    return bool(answer["status"]["allowed"])
