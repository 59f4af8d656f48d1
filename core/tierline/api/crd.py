"""CustomResourceDefinitions, complete as the API server stores them, so that nothing drifts after an apply."""

from typing import Any

import yaml

from tierline.api.crd_schema import Schema, structural_schema
from tierline.api.crd_shape import Column, Shape
from tierline.api.meta import Resource
from tierline.api.names import GROUP, VERSION

HEADER = "# generated - do not edit; change core/tierline/api and run `make crds`\n"


def custom_resource_definition(model: type[Resource]) -> dict[str, Any]:
    """Return the CRD of a resource model, with the defaults that the server would add."""
    shape = model.shape
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{shape.plural}.{GROUP}"},
        "spec": {
            "conversion": {"strategy": "None"},
            "group": GROUP,
            "names": _names(model.kind_name, shape),
            "scope": shape.scope,
            "versions": [_version(model)],
        },
    }


def crd_yaml(model: type[Resource]) -> str:
    """Return the CRD as the text of its file, keys sorted."""
    return HEADER + yaml.safe_dump(custom_resource_definition(model), width=110, allow_unicode=True)


def _names(kind: str, shape: Shape) -> dict[str, Any]:
    return {
        "categories": ["tierline"],
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": shape.plural,
        "shortNames": list(shape.short_names),
        "singular": kind.lower(),
    }


def _version(model: type[Resource]) -> dict[str, Any]:
    return {
        "additionalPrinterColumns": [_column(column) for column in model.shape.columns],
        "name": VERSION,
        "schema": {"openAPIV3Schema": _root_schema(model)},
        "served": True,
        "storage": True,
        "subresources": _subresources(model.shape),
    }


def _root_schema(model: type[Resource]) -> Schema:
    schema = structural_schema(model)
    schema["properties"]["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    return schema


def _subresources(shape: Shape) -> dict[str, Any]:
    if shape.scale is None:
        return {"status": {}}
    scale = {
        "labelSelectorPath": shape.scale.label_selector_path,
        "specReplicasPath": shape.scale.spec_replicas_path,
        "statusReplicasPath": shape.scale.status_replicas_path,
    }
    return {"scale": scale, "status": {}}


def _column(column: Column) -> dict[str, Any]:
    shown: dict[str, Any] = {"jsonPath": column.json_path, "name": column.name, "type": column.type}
    if column.description:
        shown["description"] = column.description
    if column.priority:
        shown["priority"] = column.priority
    return shown
