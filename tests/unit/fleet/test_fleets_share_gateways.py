"""One gateway for several fleets: what each of them says about it."""

from dataclasses import replace

import pytest
from fleet_builders import Applied, fleet, wanted

from tierline.fleet.fleet_plan import ChildKey, plan_fleet
from tierline.fleet.fleet_status import fleet_verdicts
from tierline.fleet.guests import Guests, guests, guests_of, guests_verdict, hosts

MODELS = {"chat": "chat", "code": "code", "embed": "embed"}


def available(seen):
    """Return the condition once the pools have their workers; no gateway of the fleet's own is ready."""
    seen = Applied(seen).after(plan_fleet(seen)).seen
    pool = seen.children[ChildKey("WorkerPool", "chat-main")]
    children = {**seen.children, ChildKey("WorkerPool", "chat-main"): {**pool, "status": {"readyReplicas": 2}}}
    verdicts = fleet_verdicts(replace(seen, children=children))
    return next(it for it in verdicts if it.type == "Available")


@pytest.mark.parametrize(
    ("gateways", "served_by", "reason"),
    [
        (1, {}, "GatewayNotReady"),
        (1, {"front": 1}, "Serving"),
        (0, {"front": 2}, "Serving"),
        (0, {"front": 0}, "GatewayNotReady"),
        (0, {"front": 0, "other": 1}, "Serving"),
        (0, {}, "NoGateway"),
    ],
)
def test_a_fleet_is_available_through_any_gateway_that_serves_it(gateways, served_by, reason):
    assert available(fleet(wanted(gateway_replicas=gateways), hosts=served_by)).reason == reason


def test_a_fleet_without_any_gateway_is_told_the_fix():
    assert (
        "name the fleet in spec.gateway.fleetRefs of another one"
        in available(fleet(wanted(gateway_replicas=0))).message
    )


def test_only_a_fleet_that_names_others_speaks_of_them():
    assert all(it.type != "FleetsResolved" for it in fleet_verdicts(fleet()))
    said = fleet_verdicts(fleet(guests=guests("chat", ("code",), MODELS)))
    assert [(it.holds, it.reason) for it in said if it.type == "FleetsResolved"] == [(True, "AllServed")]


def test_a_fleet_that_is_not_there_is_named_and_is_no_reason_not_to_be_ready():
    verdict = guests_verdict(guests("chat", ("code", "voice"), MODELS))
    assert (verdict.holds, verdict.reason) == (False, "FleetNotFound")
    assert "spec.gateway.fleetRefs[1] names the LLMFleet 'voice', which does not exist" in verdict.message
    settled = fleet(guests=Guests(("voice",), frozenset({"voice"})))
    ready = [next(it for it in fleet_verdicts(seen) if it.type == "Ready") for seen in (settled, fleet())]
    assert ready[0] == ready[1]


def test_a_name_that_is_taken_belongs_to_the_own_fleet_first_then_by_name():
    models = {"z-front": "llama", "a": "llama", "b": "qwen", "c": "qwen"}
    seen = guests("z-front", ("c", "b", "a"), models)
    assert seen.taken == {"a": "z-front", "c": "b"}
    verdict = guests_verdict(seen)
    assert verdict.reason == "ModelNameTaken"
    assert "the model of fleet 'a' has the name of that of 'z-front': give one another" in verdict.message


def test_hosts_are_found_by_whom_they_name():
    def live(name, *refs, namespace="demo"):
        gateway = {"gateway": {"fleetRefs": list(refs)}} if refs else {}
        return {"metadata": {"namespace": namespace, "name": name}, "spec": gateway}

    fleets = (live("chat", "code", "embed"), live("front", "code"), live("code"), live("chat", "code", namespace="b"))
    assert guests_of(fleets[0]) == ("code", "embed")
    assert hosts(fleets) == {
        ("demo", "code"): ("chat", "front"),
        ("demo", "embed"): ("chat",),
        ("b", "code"): ("chat",),
    }
