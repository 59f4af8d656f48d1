import pytest
from resource_samples import SAMPLES
from schema_cases import MISSING, replaced

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.api.pool import WorkerPool
from tierline.api.problems import InvalidResource
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier


def refused(model, path, value):
    with pytest.raises(InvalidResource) as caught:
        parse(model, replaced(SAMPLES[model.kind_name], path, value))
    return str(caught.value)


def test_names_are_snake_case_inside_and_camel_case_outside():
    quota = parse(TenantQuota, SAMPLES["TenantQuota"])
    assert quota.spec.limits.max_kv_cache_percent == 50
    assert quota.status.conditions[0].last_transition_time == "2026-11-21T08:00:00Z"


def test_unknown_fields_of_a_newer_schema_are_ignored():
    parse(SLOTier, replaced(SAMPLES["SLOTier"], ("spec", "fromTheFuture"), {"a": 1}))


def test_inside_names_are_not_accepted_outside():
    changed = replaced(SAMPLES["WorkerPool"], ("spec", "fleetRef"), MISSING)
    changed["spec"]["fleet_ref"] = "smollm2"
    with pytest.raises(InvalidResource, match=r"spec\.fleetRef is required"):
        parse(WorkerPool, changed)


def test_an_engine_left_out_has_the_documented_sizes():
    pool = parse(WorkerPool, replaced(SAMPLES["WorkerPool"], ("spec", "engine"), MISSING))
    assert (pool.spec.engine.kv_cache_blocks, pool.spec.engine.block_tokens) == (1024, 16)


def test_a_bare_number_is_a_quantity():
    pool = parse(WorkerPool, replaced(SAMPLES["WorkerPool"], ("spec", "resources", "cpu"), 2))
    assert pool.spec.resources.cpu == "2"


@pytest.mark.parametrize(
    ("model", "path", "value", "told"),
    [
        (
            LLMFleet,
            ("spec", "pools", 0, "role"),
            "Prefil",
            "spec.pools[0].role must be 'Unified', 'Prefill' or 'Decode'",
        ),
        (
            LLMFleet,
            ("spec", "pools", 0, "replicas", "min"),
            "2",
            "spec.pools[0].replicas.min must be an integer, not '2'",
        ),
        (LLMFleet, ("spec", "pools"), [], "spec.pools must have at least 1 entries, not 0"),
        (LLMFleet, ("spec", "pools"), "main", "spec.pools must be a list, not 'main'"),
        (LLMFleet, ("spec", "model"), "smollm2", "spec.model must be an object, not 'smollm2'"),
        (LLMFleet, ("spec", "gateway", "replicas"), -1, "spec.gateway.replicas must be at least 0, not -1"),
        (LLMFleet, ("spec", "gateway", "replicas"), True, "spec.gateway.replicas must be an integer, not True"),
        (LLMFleet, ("metadata", "name"), "Smol.LM", "metadata.name must be at most 40 lower-case letters"),
        (SLOTier, ("spec",), MISSING, "SLOTier interactive is invalid: spec is required."),
        (TenantQuota, ("spec", "tierRefs"), ["a", "a"], "spec.tierRefs names a twice: remove one"),
        (TenantQuota, ("spec", "weight"), 10**30, "spec.weight must be at most 1000"),
    ],
)
def test_a_refusal_names_the_field_and_the_fix(model, path, value, told):
    assert told in refused(model, path, value)


def test_everything_wrong_is_told_at_once():
    with pytest.raises(InvalidResource) as caught:
        parse(WorkerPool, {"metadata": {"name": "a", "namespace": "b"}, "spec": {"replicas": -1, "model": {}}})
    assert [problem.path for problem in caught.value.problems] == [
        "spec.fleetRef",
        "spec.replicas",
        "spec.model.source",
    ]
    assert str(caught.value).startswith("WorkerPool b/a is invalid: ")


@pytest.mark.parametrize("obj", [{}, {"metadata": None}, {"metadata": {"name": 3}, "spec": []}, {"spec": {}}])
def test_an_object_that_is_hardly_one_is_refused_without_a_crash(obj):
    with pytest.raises(InvalidResource, match="SLOTier"):
        parse(SLOTier, obj)
