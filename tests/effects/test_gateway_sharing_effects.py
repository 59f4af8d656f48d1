"""Weights over several gateways with skewed ingress: one tenant comes in at one gateway, the other at two."""

from virtual_gateways import VirtualFleet

SKEWED = [{"acme": 4}, {"zeta": 1}, {"zeta": 1}]
STEPS = 20_000


def off_by_percent(fleet: VirtualFleet) -> float:
    return 100 * abs(fleet.served["acme"] / fleet.served["zeta"] / 4 - 1)


def test_weights_hold_over_three_gateways_and_no_room_stays_empty(record_effect) -> None:
    alone = VirtualFleet(SKEWED, shares=False)
    alone.run(STEPS)
    # Without sharing it is the number of gateways that counts: the effect must not come from somewhere else.
    assert alone.served["acme"] < 1.5 * alone.served["zeta"]
    shared = VirtualFleet(SKEWED, difference=256)
    shared.run(STEPS)
    value, used = off_by_percent(shared), shared.busy / alone.busy
    record_effect("G1_weights_4_to_1_over_three_gateways", value=value, threshold=2.0, unit="%", at_least=False)
    record_effect("G1_slots_used_over_those_without_sharing", value=used, threshold=0.97, unit="ratio")


def test_a_tenant_that_stops_leaves_its_room_to_the_other(record_effect) -> None:
    fleet = VirtualFleet(SKEWED)
    fleet.run(5000)
    fleet.gateways[0].tenants.clear()
    fleet.run(2000)
    before, served = fleet.busy, fleet.served["zeta"]
    fleet.run(5000)
    used = (fleet.busy - before) / (5000 * fleet.slots)
    assert fleet.served["zeta"] > served
    record_effect("G2_slots_used_when_the_favoured_tenant_stops", value=used, threshold=0.85, unit="ratio")
