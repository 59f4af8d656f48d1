"""A container's environment, from its declaration and from objects that were fetched before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tierline_devcluster.agent.pod.expansion import expand
from tierline_devcluster.agent.pod.quantities import in_units_of
from tierline_devcluster.agent.pod.spec import Container, EnvFrom, EnvSource, KeyRef, Pod, ResourceFieldRef

Source = tuple[str, str]
"""(`ConfigMap` or `Secret`, name) in the pod's namespace."""

Contents = Mapping[Source, Mapping[str, str] | None]
"""Decoded contents of each source; None when the object does not exist."""


class MissingReferenceError(Exception):
    """A variable refers to an object or key that does not exist and is not optional."""


@dataclass(frozen=True, slots=True)
class PodPlace:
    """What a pod learns about where it runs; `allocatable` stands in for limits that are not set."""

    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]


def sources(container: Container) -> frozenset[Source]:
    """Name the objects that `resolve` will need for `container`."""
    return frozenset(_sources(container))


def _sources(container: Container) -> Iterator[Source]:
    for whole in container.env_from:
        if whole.config_map_ref:
            yield "ConfigMap", whole.config_map_ref.name
        if whole.secret_ref:
            yield "Secret", whole.secret_ref.name
    for variable in container.env:
        if variable.value_from and variable.value_from.config_map_key_ref:
            yield "ConfigMap", variable.value_from.config_map_key_ref.name
        if variable.value_from and variable.value_from.secret_key_ref:
            yield "Secret", variable.value_from.secret_key_ref.name


def resolve(pod: Pod, container: Container, place: PodPlace, contents: Contents) -> dict[str, str]:
    """Return the declared variables; later ones may refer to earlier ones.

    Raises `MissingReferenceError` naming the object and key that are missing.
    """
    values: dict[str, str] = {}
    for whole in container.env_from:
        values.update(_whole(whole, contents))
    for variable in container.env:
        if variable.value_from is None:
            values[variable.name] = expand(variable.value, values)
        elif (value := _referenced(variable.value_from, pod, container, place, contents)) is not None:
            values[variable.name] = value
    return values


def _whole(whole: EnvFrom, contents: Contents) -> dict[str, str]:
    kind, ref = ("ConfigMap", whole.config_map_ref) if whole.config_map_ref else ("Secret", whole.secret_ref)
    if ref is None:
        return {}
    found = contents.get((kind, ref.name))
    if found is None and not ref.optional:
        raise MissingReferenceError(f"envFrom: {kind} {ref.name} does not exist")
    return {whole.prefix + key: value for key, value in (found or {}).items()}


def _referenced(source: EnvSource, pod: Pod, container: Container, place: PodPlace, contents: Contents) -> str | None:
    if source.field_ref:
        return pod_field(pod, source.field_ref.field_path, place)
    if source.resource_field_ref:
        return _resource(pod, container, source.resource_field_ref, place)
    if source.config_map_key_ref:
        return _key("ConfigMap", source.config_map_key_ref, contents)
    if source.secret_key_ref:
        return _key("Secret", source.secret_key_ref, contents)
    return None


def _key(kind: str, ref: KeyRef, contents: Contents) -> str | None:
    found = contents.get((kind, ref.name))
    if found is not None and ref.key in found:
        return found[ref.key]
    if ref.optional:
        return None
    missing = f"has no key {ref.key}" if found is not None else "does not exist"
    raise MissingReferenceError(f"{kind} {ref.name} {missing}")


def pod_field(pod: Pod, path: str, place: PodPlace) -> str:
    """Return a field of the downward API; a label or annotation that is not there is empty."""
    meta = pod.metadata
    if path.endswith("']"):
        mapping, _, key = path.removesuffix("']").partition("['")
        return (meta.labels if mapping == "metadata.labels" else meta.annotations).get(key, "")
    return {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": place.pod_ip,
        "status.hostIP": place.host_ip,
    }[path]


def _resource(pod: Pod, container: Container, ref: ResourceFieldRef, place: PodPlace) -> str:
    target = pod.container(ref.container_name) or container
    group, _, name = ref.resource.partition(".")
    declared = target.resources.limits if group == "limits" else target.resources.requests
    default = place.allocatable.get(name, "0") if group == "limits" else "0"
    return str(in_units_of(declared.get(name, default), ref.divisor))
