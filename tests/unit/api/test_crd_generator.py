import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from tierline.api.crd_schema import UnsupportedSchema, structural_schema

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tools" / "crds.py"


@pytest.fixture
def crds():
    spec = importlib.util.spec_from_file_location("crds_tool", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Part(BaseModel):
    """A part."""

    size: Annotated[int, Field(ge=0, le=5)] = 3


class Whole(BaseModel):
    """A whole."""

    only: Literal["One"]
    part: Part = Field(default_factory=Part, description="part is a part.")
    maybe: Part | None = None
    big: Annotated[int, Field(le=2**40)] = 0


def test_references_are_put_in_place_and_what_stands_beside_them_wins():
    assert structural_schema(Whole)["properties"]["part"] == {
        "description": "part is a part.",
        "properties": {"size": {"format": "int32", "maximum": 5, "minimum": 0, "type": "integer"}},
        "type": "object",
    }


def test_an_optional_is_its_type_without_null_and_is_not_required():
    schema = structural_schema(Whole)
    assert schema["properties"]["maybe"]["type"] == "object"
    assert schema["required"] == ["only"]


def test_a_single_choice_is_an_enum_and_a_large_integer_an_int64():
    schema = structural_schema(Whole)
    assert schema["properties"]["only"] == {"enum": ["One"], "type": "string"}
    assert schema["properties"]["big"]["format"] == "int64"


@pytest.mark.parametrize(
    ("annotation", "blamed"),
    [
        (int | str, "one type"),
        (Annotated[int, Field(gt=0)], "exclusiveMinimum"),
        (tuple[int, str], "prefixItems"),
    ],
)
def test_what_kubernetes_cannot_say_is_refused_by_name(annotation, blamed):
    model = type("Model", (BaseModel,), {"__annotations__": {"odd": annotation}})
    with pytest.raises(UnsupportedSchema, match=rf"Model\.odd.*{blamed}"):
        structural_schema(model)


def test_the_files_are_up_to_date():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_drift_names_what_differs_is_missing_or_belongs_to_nothing(crds, tmp_path):
    crds.write(tmp_path)
    assert list(crds.drift(tmp_path)) == []
    (tmp_path / "crds" / "slotiers.yaml").write_text("changed")
    (tmp_path / "crds" / "workerpools.yaml").unlink()
    (tmp_path / "crds" / "other.yaml").write_text("")
    assert list(crds.drift(tmp_path)) == [
        "crds/slotiers.yaml differs from the models",
        "crds/workerpools.yaml is missing",
        "crds/other.yaml belongs to no model",
    ]


def test_the_charts_copy_is_guarded_keepable_and_escaped(crds):
    copy = crds.chart_copy("metadata:\n  name: x\nspec:\n  description: use {{ braces }}\n")
    assert copy.startswith("{{- if .Values.crds.enabled }}\n")
    assert copy.endswith("{{- end }}\n")
    assert "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n" in copy
    assert 'use {{ "{{" }} braces }}' in copy


def test_the_charts_copy_leaves_rules_out_where_the_server_knows_no_cel(crds):
    rules = "  x-kubernetes-validations:\n  - message: a\n    rule: |\n      b\n"
    copy = crds.chart_copy(f"metadata:\n  name: x\nspec:\n{rules}  z: 1\n")
    guard = '{{- if semverCompare ">=1.25-0" $.Capabilities.KubeVersion.Version }}\n'
    assert f"spec:\n{guard}{rules}{{{{- end }}}}\n  z: 1\n" in copy


def test_a_rule_that_does_not_compile_is_told(crds, monkeypatch):
    broken = {"spec": {"x-kubernetes-validations": [{"rule": "self.a <=", "message": "a"}]}}
    monkeypatch.setattr(crds, "custom_resource_definition", lambda model: broken)
    assert "does not compile" in next(crds.uncompilable())
