"""Uninstalling: the operator is stopped first, then only its own finalizer is taken off."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from tierline.api.names import FINALIZER
from tierline_operator.cleanup import CleanupSettings, release_objects, stop_operator, without_finalizer

SETTINGS = CleanupSettings("tierline-system", "tierline-operator", "component=operator", ())


class FakeCustomObjects:
    def __init__(self, objects: dict[str, list[dict[str, Any]]]) -> None:
        self.objects = objects
        self.patches: list[tuple[str, str, list[str]]] = []
        self.missing: set[str] = set()
        self.status = 404

    def _look(self, name: str) -> None:
        if name in self.missing:
            raise ApiException(status=self.status)

    def list_cluster_custom_object(self, _group: str, _version: str, plural: str) -> dict[str, Any]:
        self._look(plural)
        return {"items": self.objects.get(plural, [])}

    def list_namespaced_custom_object(self, _group: str, _version: str, namespace: str, plural: str) -> dict[str, Any]:
        self._look(plural)
        return {"items": [o for o in self.objects.get(plural, []) if o["metadata"]["namespace"] == namespace]}

    def patch_namespaced_custom_object(
        self, _group: str, _version: str, _namespace: str, plural: str, name: str, body: Any, **_: Any
    ) -> None:
        self._look(name)
        self.patches.append((plural, name, body["metadata"]["finalizers"]))


def thing(name: str, *finalizers: str, namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "finalizers": list(finalizers)}}


def test_only_our_finalizer_goes() -> None:
    assert without_finalizer(["x/y", FINALIZER, "z/w"]) == ["x/y", "z/w"]


def test_objects_without_it_are_not_touched() -> None:
    custom = FakeCustomObjects({"llmfleets": [thing("f", FINALIZER, "o/p"), thing("g")], "workerpools": [thing("p")]})
    assert release_objects(custom, SETTINGS) == 1
    assert custom.patches == [("llmfleets", "f", ["o/p"])]


def test_a_namespaced_install_looks_only_into_its_namespaces() -> None:
    custom = FakeCustomObjects({"llmfleets": [thing("f", FINALIZER), thing("g", FINALIZER, namespace="b")]})
    settings = CleanupSettings.from_env(
        {
            "POD_NAMESPACE": "s",
            "TIERLINE_OPERATOR_DEPLOYMENT": "o",
            "TIERLINE_OPERATOR_SELECTOR": "x=y",
            "TIERLINE_WATCH_NAMESPACES": "b",
        }
    )
    assert release_objects(custom, settings) == 1
    assert custom.patches == [("llmfleets", "g", [])]


def test_an_operator_that_does_not_go_is_reported() -> None:
    scaled: list[Any] = []
    apps = SimpleNamespace(patch_namespaced_deployment_scale=lambda *call: scaled.append(call))
    core = SimpleNamespace(list_namespaced_pod=lambda *_, **__: SimpleNamespace(items=["still here"]))
    ticks = iter([0.0, 61.0])
    with pytest.raises(TimeoutError, match="operator pods are still there"):
        stop_operator(apps, core, SETTINGS, lambda: next(ticks))
    assert scaled == [("tierline-operator", "tierline-system", {"spec": {"replicas": 0}})]


@pytest.mark.parametrize("namespaces", [(), ("a",)])
def test_kinds_that_are_no_longer_served_hold_nothing(namespaces: tuple[str, ...]) -> None:
    custom = FakeCustomObjects({"workerpools": [thing("p", FINALIZER)]})
    custom.missing = {"llmfleets"}
    assert release_objects(custom, replace(SETTINGS, namespaces=namespaces)) == 1
    assert custom.patches == [("workerpools", "p", [])]


def test_an_object_that_went_meanwhile_keeps_no_other_one_held() -> None:
    custom = FakeCustomObjects({"llmfleets": [thing("gone", FINALIZER), thing("f", FINALIZER)]})
    custom.missing = {"gone"}
    assert release_objects(custom, SETTINGS) == 1
    assert custom.patches == [("llmfleets", "f", [])]


@pytest.mark.parametrize("name", ["llmfleets", "f"])
def test_an_answer_that_is_not_a_clear_no_is_an_error(name: str) -> None:
    custom = FakeCustomObjects({"llmfleets": [thing("f", FINALIZER)]})
    custom.missing, custom.status = {name}, 403
    with pytest.raises(ApiException):
        release_objects(custom, SETTINGS)


def test_an_operator_whose_deployment_is_gone_still_has_its_pods_awaited() -> None:
    def gone(*_: Any) -> None:
        raise ApiException(status=404)

    answers = iter([["still here"], []])
    core = SimpleNamespace(list_namespaced_pod=lambda *_, **__: SimpleNamespace(items=next(answers)))
    apps = SimpleNamespace(patch_namespaced_deployment_scale=gone)
    stop_operator(apps, core, SETTINGS, lambda: 0.0)
    assert next(answers, None) is None
