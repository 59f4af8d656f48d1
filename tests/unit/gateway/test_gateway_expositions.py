"""Metrics of a pod out of those of its processes."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tierline_gateway.instruments import Instruments
from tierline_gateway.pod.expositions import merged_exposition


def values(exposition: bytes) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(exposition.decode())
    return {
        (one.name, ",".join(sorted(one.labels.values()))): one.value for family in families for one in family.samples
    }


def process(requests: int, workers: int, sharing: int, ttft_s: float) -> str:
    made = Instruments()
    made.requests.labels("gold", "acme", "stop").inc(requests)
    made.workers.labels("serving").set(workers)
    made.sharing.set(sharing)
    made.running.set(requests)
    made.ttft.labels("gold", "acme").observe(ttft_s)
    return generate_latest(made.registry).decode()


def test_what_was_counted_adds_up_and_what_all_see_does_not() -> None:
    merged = values(merged_exposition([process(3, 2, 2, 0.03), process(4, 2, 0, 0.2)]))
    assert merged["tierline_gateway_requests_total", "acme,gold,stop"] == 7
    assert merged["tierline_gateway_running_requests", ""] == 7
    assert merged["tierline_gateway_workers", "serving"] == 2
    assert merged["tierline_gateway_sharing_gateways", ""] == 0
    assert merged["tierline_ttft_seconds_count", "acme,gold"] == 2
    assert merged["tierline_ttft_seconds_bucket", "0.05,acme,gold"] == 1


def test_the_first_of_all_that_wait_is_due_first() -> None:
    expositions = []
    for due_s in (170.0, 120.5):
        made = Instruments()
        made.queue_due.labels("gold").set(due_s)
        expositions.append(generate_latest(made.registry).decode())
    merged = values(merged_exposition(expositions))
    assert merged["tierline_gateway_queue_due_timestamp_seconds", "gold"] == 120.5


def test_one_process_alone_is_told_as_it_is() -> None:
    alone = process(3, 2, 1, 0.03)
    assert values(merged_exposition([alone])) == values(alone.encode())
