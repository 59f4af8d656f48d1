"""Settings, wake-up calls, loops, kopf's settings: the edge without a cluster."""

import asyncio
import io
import itertools
import json
import logging
from pathlib import Path

import pytest

from tierline_operator.cluster import ApiError
from tierline_operator.logs import JsonFormatter
from tierline_operator.looping import Looper
from tierline_operator.metrics import Metrics
from tierline_operator.policy_status import quota_verdicts, tier_verdicts
from tierline_operator.registry import PausesForEver, kopf_settings
from tierline_operator.settings import Settings, WrongSetting
from tierline_operator.wakes import WakeKey, Wakes

ENV = {
    "POD_NAME": "operator-0",
    "POD_NAMESPACE": "tierline",
    "TIERLINE_WORKER_IMAGE": "worker:1",
    "TIERLINE_GATEWAY_IMAGE": "gateway:1",
}
KEY = WakeKey("LLMFleet", "demo", "chat")


def test_the_folder_operator_holds_no_module_that_hides_the_standard_one():
    assert not list((Path(__file__).parents[3] / "operator").glob("*.py"))


def test_settings_come_from_the_environment():
    settings = Settings.from_env({**ENV, "TIERLINE_WATCH_NAMESPACES": "a, b", "TIERLINE_LEADER_ELECTION": "false"})
    assert (settings.namespaces, settings.elects_leader, settings.http_port) == (("a", "b"), False, 8082)


@pytest.mark.parametrize(
    ("env", "name"),
    [({}, "tierline-operator"), ({"TIERLINE_LEASE_NAME": "blue-tierline-operator"}, "blue-tierline-operator")],
)
def test_a_release_may_have_a_lease_of_its_own(env, name):
    assert Settings.from_env({**ENV, **env}).lease_name == name


def test_nodes_keep_models_where_the_settings_say():
    cache = {"TIERLINE_WORKER_WEIGHTS_DIR": "/var/lib/tierline/", "TIERLINE_WORKER_WEIGHTS_LIMIT_MEBIBYTES": "500"}
    images = Settings.from_env({**ENV, **cache}).images
    assert (images.weights_dir, images.weights_limit_mebibytes) == ("/var/lib/tierline", 500)
    assert Settings.from_env(ENV).images.weights_dir == ""


@pytest.mark.parametrize("missing", ENV)
def test_a_missing_setting_is_named(missing):
    with pytest.raises(WrongSetting, match=missing):
        Settings.from_env({name: value for name, value in ENV.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERLINE_HTTP_PORT", "web"),
        ("TIERLINE_HTTP_PORT", "70000"),
        ("TIERLINE_LEADER_ELECTION", "maybe"),
        ("TIERLINE_WORKER_WEIGHTS_DIR", "weights"),
        ("TIERLINE_WORKER_WEIGHTS_DIR", "/var/../etc"),
        ("TIERLINE_WORKER_WEIGHTS_DIR", "/tmp"),
        ("TIERLINE_WORKER_WEIGHTS_LIMIT_MEBIBYTES", "10Gi"),
    ],
)
def test_a_malformed_setting_is_named(name, value):
    with pytest.raises(WrongSetting, match=f"{name} .*{value}"):
        Settings.from_env({**ENV, name: value})


def test_kopf_gets_no_end_of_pauses_and_starts_anew_each_time():
    pauses = PausesForEver()
    for _ in range(2):
        taken = list(itertools.islice(pauses, 200))
        assert taken[0] <= 0.2
        assert max(taken) <= 30


def test_kopf_writes_nothing_but_our_finalizer():
    settings = kopf_settings()
    assert settings.persistence.finalizer == "tierline.dev/operator"
    assert (settings.scanning.disabled, settings.posting.enabled, settings.peering.standalone) == (True, False, True)


def test_wake_up_calls_reach_only_those_concerned():
    wakes, heard = Wakes(), []
    wakes.register(KEY, lambda: heard.append("mine"))
    wakes.register(WakeKey("LLMFleet", "other", "chat"), lambda: heard.append("other"))
    wakes.wake_kind("LLMFleet", "demo")
    wakes.wake(KEY)
    assert heard == ["mine", "mine"]
    wakes.unregister(KEY)
    wakes.wake(KEY)
    assert heard == ["mine", "mine"]


async def looks(looper, look, until):
    """Let the loop run until `until` is set."""
    task = asyncio.create_task(looper.look_after(KEY, look))
    await asyncio.wait_for(until.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("error", [ApiError(503, "", "busy"), TimeoutError(), KeyError("a bug of ours")])
async def test_a_loop_outlives_every_error(error):
    done, count, metrics = asyncio.Event(), itertools.count(1), Metrics()

    async def look():
        if next(count) == 3:
            done.set()
            return
        raise error

    await looks(Looper(Wakes(), metrics, 60), look, done)
    assert metrics.registry.get_sample_value("tierline_operator_reconcile_errors_total", {"kind": "LLMFleet"}) == 2


async def test_a_loop_comes_back_when_time_changes_the_plan():
    done, count = asyncio.Event(), itertools.count(1)

    async def look():
        if next(count) == 2:
            done.set()
        return 0.01

    await looks(Looper(Wakes(), Metrics(), 60), look, done)


async def test_a_call_during_a_look_is_not_lost():
    wakes, done, count = Wakes(), asyncio.Event(), itertools.count(1)

    async def look():
        wakes.wake(KEY) if next(count) == 1 else done.set()

    await looks(Looper(wakes, Metrics(), 60), look, done)


def reasons(verdicts):
    return {it.type: (it.status, it.reason) for it in verdicts}


def quota(**spec):
    keys = [{"name": "k", "key": "k"}]
    declared = {"tenant": "acme", "tierRefs": ["gold"], "apiKeySecretRefs": keys, **spec}
    return {"kind": "TenantQuota", "metadata": {"name": "acme", "namespace": "demo"}, "spec": declared}


def test_a_quota_says_whether_its_tiers_exist():
    assert reasons(quota_verdicts(quota(), frozenset({"gold"})))["Ready"] == ("True", "Valid")
    lost = quota_verdicts(quota(tierRefs=["gold", "none"], defaultTierRef="gold"), frozenset({"gold"}))
    assert reasons(lost)["TiersResolved"] == ("False", "TierNotFound")
    assert "spec.tierRefs[1] names the tier 'none'" in lost[1].message


def test_an_invalid_quota_names_the_field():
    verdicts = quota_verdicts(quota(weight=0), frozenset({"gold"}))
    assert reasons(verdicts)["Ready"] == ("False", "InvalidSpec")
    assert "spec.weight" in verdicts[0].message


def test_a_tier_that_degrades_into_nothing_says_so():
    spec = {"objective": "Cost", "priority": 1, "admission": {"overload": "Degrade", "degradeToRef": "none"}}
    verdicts = tier_verdicts({"kind": "SLOTier", "metadata": {"name": "gold"}, "spec": spec}, frozenset({"gold"}))
    assert reasons(verdicts)["TiersResolved"] == ("False", "TierNotFound")
    assert "spec.admission.degradeToRef" in verdicts[1].message


def test_a_log_line_is_one_json_object():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("tierline_operator.test")
    logger.addHandler(handler)
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed for %s", "chat")
    entry = json.loads(out.getvalue())
    assert (entry["level"], entry["message"]) == ("error", "failed for chat")
    assert "ValueError: no" in entry["exception"]


def test_a_tier_against_its_objective_is_in_force_and_says_what_to_change():
    def tier(**overrides):
        spec = {"objective": "Latency", "priority": 1, **overrides}
        return {"kind": "SLOTier", "metadata": {"name": "gold"}, "spec": spec}

    assert reasons(tier_verdicts(tier(), frozenset()))["Recommended"] == ("True", "FollowsObjective")
    verdicts = tier_verdicts(tier(batching={"mode": "Discrete"}), frozenset())
    assert reasons(verdicts)["Recommended"] == ("False", "BatchesMakeWait")
    assert reasons(verdicts)["Ready"] == ("True", "Valid")
    assert "spec.batching.mode" in verdicts[-1].message
