"""However many tenants there are, series stay few."""

from prometheus_client import generate_latest

from tierline.telemetry.gateway_metrics import MAX_TENANT_LABELS, OTHER_TENANTS
from tierline_gateway.instruments import Instruments


def test_a_hundred_thousand_tenants_share_what_labels_there_are() -> None:
    instruments = Instruments()
    for at in range(100_000):
        instruments.requests.labels("gold", instruments.tenant_label(f"tenant-{at}"), "stop").inc()
    lines = [line for line in generate_latest(instruments.registry).decode().splitlines() if "requests_total{" in line]
    assert len(lines) == MAX_TENANT_LABELS + 1
    assert next(line for line in lines if OTHER_TENANTS in line).endswith(f" {100_000 - MAX_TENANT_LABELS}.0")
