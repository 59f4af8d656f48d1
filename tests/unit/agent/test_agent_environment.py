"""Environment, expansion and quantities."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pod_samples import container_json, pod

from tierline_devcluster.agent.pod.environment import Contents, MissingReferenceError, PodPlace, resolve, sources
from tierline_devcluster.agent.pod.expansion import expand
from tierline_devcluster.agent.pod.quantities import in_units_of, parse_quantity

PLACE = PodPlace("127.20.0.2", "127.0.0.1", {"cpu": "8", "memory": "16384Mi"})


def resolved(contents: Contents | None = None, **fields: object) -> dict[str, str]:
    a_pod = pod(container_json(**fields))
    return resolve(a_pod, a_pod.spec.containers[0], PLACE, contents or {})


def field(path: str) -> list[dict]:
    return [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "pod"),
        ("metadata.namespace", "space"),
        ("metadata.uid", "uid-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-a"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.20.0.2"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_the_downward_api_gives_fields_of_the_pod(path: str, value: str) -> None:
    assert resolved(env=field(path)) == {"X": value}


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.memory", "1Mi", "16384"),
        ("requests.memory", "1Ki", "1024"),
        ("requests.cpu", "0", "0"),
    ],
)
def test_resources_are_rounded_up_and_a_missing_limit_is_what_the_node_has(
    resource: str, divisor: str, value: str
) -> None:
    declared = {"limits": {"cpu": "1500m"}, "requests": {"memory": "1Mi"}}
    source = {"resourceFieldRef": {"resource": resource, "divisor": divisor}}
    assert resolved(resources=declared, env=[{"name": "X", "valueFrom": source}]) == {"X": value}


def test_later_variables_win_and_may_use_earlier_ones() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(LATER)"}, {"name": "LATER", "value": "x"}]
    found = resolved({("ConfigMap", "c"): {"A": "0", "K": "v"}}, env=env, envFrom=[{"configMapRef": {"name": "c"}}])
    assert found == {"A": "1", "K": "v", "B": "1$(LATER)", "LATER": "x"}


def test_a_prefix_is_put_before_each_key() -> None:
    source = {"prefix": "DB_", "secretRef": {"name": "s"}}
    assert resolved({("Secret", "s"): {"USER": "me"}}, envFrom=[source]) == {"DB_USER": "me"}


@pytest.mark.parametrize(
    ("contents", "message"),
    [({("Secret", "s"): None}, "Secret s does not exist"), ({("Secret", "s"): {}}, "Secret s has no key k")],
)
def test_what_is_missing_is_named_unless_it_is_optional(contents: Contents, message: str) -> None:
    def env(*, optional: bool) -> list[dict]:
        ref = {"name": "s", "key": "k", "optional": optional}
        return [{"name": "X", "valueFrom": {"secretKeyRef": ref}}]

    with pytest.raises(MissingReferenceError, match=message):
        resolved(contents, env=env(optional=False))
    assert resolved(contents, env=env(optional=True)) == {}


def test_a_missing_whole_object_is_named_unless_it_is_optional() -> None:
    with pytest.raises(MissingReferenceError, match="ConfigMap c does not exist"):
        resolved(envFrom=[{"configMapRef": {"name": "c"}}])
    assert resolved(envFrom=[{"configMapRef": {"name": "c", "optional": True}}]) == {}


def test_every_referenced_object_is_asked_for() -> None:
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    whole = [{"configMapRef": {"name": "d"}}, {"secretRef": {"name": "t"}}]
    asked = sources(pod(container_json(env=env, envFrom=whole)).spec.containers[0])
    assert asked == {("ConfigMap", "c"), ("Secret", "s"), ("ConfigMap", "d"), ("Secret", "t")}


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("a$(A)b$(A)", "a1b1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A $", "$A $")],
)
def test_references_are_expanded(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@given(st.text(alphabet="ab() ", max_size=20))
def test_text_without_dollars_is_left_alone(text: str) -> None:
    assert expand(text, {"a": "x"}) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("2Gi", 2 * 1024**3),
        ("1e3", 1000),
        ("1E", 10**18),
        ("1.5k", 1500),
        (".5", Fraction(1, 2)),
    ],
)
def test_quantities_are_exact(text: str, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1Q", "1 Gi", "one"])
def test_a_wrong_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}'"):
        parse_quantity(text)


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_divided_quantities_are_rounded_up(quantity: int, divisor: int) -> None:
    assert in_units_of(str(quantity), str(divisor)) == -(-quantity // divisor)
