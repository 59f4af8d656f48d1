"""Service per tenant, and the difference while both wait."""

import pytest

from tierline.telemetry.fairness import max_service_difference, tenant_services
from tierline.telemetry.measured import Unknown
from tierline.telemetry.records import Outcome, RequestRecord, TenantShare

TENANTS = (TenantShare("a", 1), TenantShare("b", 1))


def served(tenant: str, arrived_ms: float, *times_ms: float, prompt: int = 10) -> RequestRecord:
    name = f"{tenant}{arrived_ms}"
    return RequestRecord(name, tenant, "t", arrived_ms, prompt, len(times_ms), Outcome.OK, times_ms)


def test_equal_service_has_ratio_one() -> None:
    services = tenant_services([served("a", 0, 1, 2), served("b", 0, 1, 2)], TENANTS)
    assert services["a"].service_ratio == pytest.approx(1)
    assert services["a"].served_tokens == 12


def test_weights_say_what_is_equal() -> None:
    heavy = (TenantShare("a", 3), TenantShare("b", 1))
    records = [served("a", 0, 1, prompt=28), served("b", 0, 1, prompt=8)]
    assert tenant_services(records, heavy)["a"].service_ratio == pytest.approx(1)


def test_only_time_in_which_both_wait_counts() -> None:
    apart = [served("a", 0, 10), served("b", 20, 30)]
    assert isinstance(max_service_difference(apart, TENANTS), Unknown)


def test_who_waits_in_vain_has_waited() -> None:
    refused = RequestRecord("b0", "b", "t", 0, 10, None, Outcome.REJECTED, ended_ms=20)
    records = [served("a", 0, 10), served("a", 1, 20), refused]
    assert max_service_difference(records, TENANTS) == 24


def test_service_to_one_while_the_other_waits_is_the_difference() -> None:
    records = [served("a", 0, 10), served("a", 1, 20), served("b", 0, 20)]
    assert max_service_difference(records, TENANTS) == 24
