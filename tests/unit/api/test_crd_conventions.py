"""Kubernetes API conventions, checked on the CRDs that we ship (the rules of kube-api-linter, which reads only Go)."""

import json
import re

import pytest
import yaml
from resource_samples import SAMPLES
from schema_cases import dotted, fields, schema_of

from tierline.api.crd import crd_yaml, custom_resource_definition
from tierline.api.kinds import KINDS

FIELDS = [(kind, path, schema) for kind in SAMPLES for path, schema in fields(schema_of(kind))]
NAMED = [(kind, path, schema) for kind, path, schema in FIELDS if isinstance(path[-1], str)]
UNITS = {
    "Milliseconds": "in milliseconds.",
    "Seconds": "in seconds.",
    "Percent": "in percent.",
    "PerMinute": "per minute.",
    "PerDay": "per day.",
    "Tokens": "in tokens.",
    "Blocks": "in blocks.",
}
YAML_1_1_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}


def name_of(path):
    return path[-1]


def where(kind, path):
    return f"{kind} {dotted(path)}"


def test_commentstart_every_description_starts_with_the_field_name():
    for kind, path, schema in NAMED:
        assert schema["description"].split()[0] == name_of(path), where(kind, path)
        assert schema["description"].endswith("."), where(kind, path)


def test_units_a_unit_in_the_name_ends_the_description():
    for kind, path, schema in NAMED:
        for suffix, unit in UNITS.items():
            if name_of(path).endswith(suffix) and schema.get("type") in ("integer", "object"):
                assert schema["description"].endswith(unit), where(kind, path)


def test_nobools_nofloats_every_type_is_string_integer_object_or_array():
    for kind, path, schema in FIELDS:
        allowed = {"string", "integer", "object", "array"}
        assert schema.get("type") in allowed or schema.get("x-kubernetes-int-or-string"), where(kind, path)


def test_nomaps_nonullable_nodefaults_and_nothing_unstructured():
    forbidden = {"nullable", "title", "default", "additionalProperties", "const", "anyOf", "$ref", "exclusiveMinimum"}
    for kind, path, schema in FIELDS:
        assert not forbidden & schema.keys(), where(kind, path)


def test_nophase_noduration_notimestamp():
    for kind, path, schema in NAMED:
        assert name_of(path) != "phase", where(kind, path)
        assert "duration" not in name_of(path).lower(), where(kind, path)
        assert "timestamp" not in name_of(path).lower(), where(kind, path)
        assert schema.get("format") in (None, "int32", "int64", "date-time"), where(kind, path)


def test_maxlength_everything_is_bounded():
    for kind, path, schema in FIELDS:
        if schema.get("type") == "string" and "enum" not in schema:
            assert "maxLength" in schema, where(kind, path)
        if schema.get("type") == "array":
            assert "maxItems" in schema, where(kind, path)
            assert not {"minLength", "maxLength"} & schema.keys(), where(kind, path)


def test_integers_have_a_format_and_bounds_that_a_float64_keeps():
    for kind, path, schema in FIELDS:
        if schema.get("type") == "integer":
            assert schema["format"] in ("int32", "int64"), where(kind, path)
            assert schema["minimum"] <= schema["maximum"] < 2**53, where(kind, path)


def test_ssatags_every_list_says_what_it_is():
    for kind, path, schema in FIELDS:
        if schema.get("type") != "array":
            continue
        usual = {"object": "map", "integer": "atomic"}.get(schema["items"]["type"], "set")
        assert schema["x-kubernetes-list-type"] == usual, where(kind, path)
        for key in schema.get("x-kubernetes-list-map-keys", []):
            assert key in schema["items"]["required"], where(kind, path)


@pytest.mark.parametrize("kind", SAMPLES)
def test_conditions_are_a_list_map_by_type_with_the_fields_of_meta_v1(kind):
    conditions = schema_of(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["properties"].keys() == {
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime",
        "observedGeneration",
    }
    required = {"type", "status", "reason", "message", "lastTransitionTime"}
    assert set(conditions["items"]["required"]) == required


@pytest.mark.parametrize("kind", SAMPLES)
def test_statussubresource_statusoptional_observedgeneration(kind):
    crd = custom_resource_definition(KINDS[kind])
    assert crd["spec"]["versions"][0]["subresources"]["status"] == {}
    status = schema_of(kind)["properties"]["status"]
    assert "required" not in status
    assert "observedGeneration" in status["properties"]
    assert schema_of(kind)["required"] == ["spec"]


def test_enums_are_camelcase_words_that_no_yaml_reads_as_a_boolean():
    for kind, path, schema in FIELDS:
        words = schema.get("enum", [])
        assert len(set(words)) == len(words), where(kind, path)
        assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", word) for word in words), where(kind, path)
        if path[0] == "spec":
            assert not {word.lower() for word in words} & YAML_1_1_BOOLEANS, where(kind, path)


def test_references_are_called_ref_and_names_are_camelcase_with_upper_acronyms():
    for kind, path, _ in NAMED:
        assert re.fullmatch(r"[a-z][A-Za-z0-9]*", name_of(path)), where(kind, path)
        assert "Kv" not in name_of(path), where(kind, path)
        assert "Api" not in name_of(path)[1:], where(kind, path)


def test_patterns_are_anchored_and_free_of_what_re2_lacks():
    for kind, path, schema in FIELDS:
        pattern = schema.get("pattern", "^$")
        assert pattern.startswith("^"), where(kind, path)
        assert pattern.endswith("$"), where(kind, path)
        assert not re.search(r"\(\?[=!<]|\\[1-9]", pattern), where(kind, path)


@pytest.mark.parametrize("kind", SAMPLES)
def test_kubectl_shows_ready_reason_and_age(kind):
    columns = [column.name for column in KINDS[kind].shape.columns if column.priority == 0]
    assert columns[-3:] == ["Ready", "Reason", "Age"]
    assert custom_resource_definition(KINDS[kind])["spec"]["names"]["categories"] == ["tierline"]


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_path_that_kubectl_and_autoscalers_read_exists(kind):
    shape = KINDS[kind].shape
    scale = [*vars(shape.scale).values()] if shape.scale else []
    known = {"." + dotted(path) for path, _ in fields(schema_of(kind))}
    for path in [*scale, *(column.json_path for column in shape.columns)]:
        if ".conditions[" not in path and not path.startswith(".metadata."):
            assert path in known


def test_a_crd_is_small_enough_for_a_client_side_apply():
    for model in KINDS.values():
        assert len(json.dumps(custom_resource_definition(model))) < 200_000


def test_the_text_is_sorted_and_says_that_it_is_generated():
    for model in KINDS.values():
        text = crd_yaml(model)
        assert text.startswith("# generated - do not edit")
        assert yaml.safe_load(text) == custom_resource_definition(model)
