"""What a gateway counts: what workers of a revision kept, missed and failed; what tenants got late or not at all."""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest

from tierline.wire.states import FinishReason
from tierline_gateway.instruments import Instruments
from tierline_gateway.streams.delivery import DeliveryTimes

TIER = SimpleNamespace(name="gold", ttft_deadline_ms=500, tpot_budget_ms=50, deadline_ms=2000)


def live(
    reason: FinishReason, delivery: DeliveryTimes, revision: str = "r1", answer_tokens: int = 0, left: bool = False
) -> Any:
    return SimpleNamespace(
        tier=TIER,
        tenant=SimpleNamespace(tenant="acme", billing_tier="paid"),
        fork_of="",
        arrival_ms=1000.0,
        delivery=delivery,
        life=SimpleNamespace(finish_reason=reason),
        journal=SimpleNamespace(recomputed_tokens=0, duplicates_dropped=0, prompt_ids=[1]),
        last_pool="chat-main",
        last_revision=revision,
        answer_tokens=answer_tokens,
        client_left=left,
    )


def counted(instruments: Instruments, outcome: str) -> float:
    labels = {"tier": "gold", "pool": "chat-main", "revision": "r1", "outcome": outcome}
    return instruments.registry.get_sample_value("tierline_gateway_revision_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("outcome", "reason", "delivery"),
    [
        ("met", FinishReason.STOP, DeliveryTimes(first_ms=1500, last_ms=1550, tokens=2)),
        ("missed", FinishReason.STOP, DeliveryTimes(first_ms=1501, last_ms=1550, tokens=2)),
        ("missed", FinishReason.LENGTH, DeliveryTimes(first_ms=1400, last_ms=1451, tokens=2)),
        ("missed", FinishReason.LENGTH, DeliveryTimes(first_ms=1400, last_ms=3001, tokens=100)),
        ("failed", FinishReason.FAILED, DeliveryTimes()),
    ],
)
def test_a_request_counts_for_the_revision_that_ended_it(
    outcome: str, reason: FinishReason, delivery: DeliveryTimes
) -> None:
    instruments = Instruments()
    instruments.ended(live(reason, delivery), str(reason))
    assert {it: counted(instruments, it) for it in ("met", "missed", "failed") if counted(instruments, it)} == {
        outcome: 1.0
    }


@pytest.mark.parametrize("reason", [FinishReason.CANCELLED, FinishReason.REFUSED])
def test_what_clients_give_up_and_gateways_refuse_says_nothing_about_workers(reason: FinishReason) -> None:
    instruments = Instruments()
    instruments.ended(live(reason, DeliveryTimes()), str(reason))
    assert not any(counted(instruments, outcome) for outcome in ("met", "missed", "failed"))


def test_workers_without_a_revision_are_not_counted() -> None:
    instruments = Instruments()
    instruments.ended(live(FinishReason.FAILED, DeliveryTimes(), revision=""), "failed")
    assert b"tierline_gateway_revision_requests_total{" not in generate_latest(instruments.registry)


@pytest.mark.parametrize(
    ("reason", "generated", "delivered", "lost", "twice"),
    [
        (FinishReason.STOP, 9, 9, 0, 0),
        (FinishReason.STOP, 9, 7, 2, 0),
        (FinishReason.LENGTH, 7, 9, 0, 2),
        (FinishReason.FAILED, 7, 7, 7, 0),
        (FinishReason.REFUSED, 0, 0, 0, 0),
        (FinishReason.CANCELLED, 9, 7, 0, 0),
    ],
)
def test_tokens_are_lost_where_a_client_waited_for_them_in_vain(
    reason: FinishReason, generated: int, delivered: int, lost: int, twice: int
) -> None:
    for left in (False, True):
        instruments = Instruments()
        times = DeliveryTimes(first_ms=1400, last_ms=1401, tokens=delivered)
        instruments.ended(live(reason, times, answer_tokens=generated, left=left), str(reason))
        labels = {"tier": "gold", "tenant": "acme"}
        value = instruments.registry.get_sample_value
        counts = [value(f"tierline_gateway_{what}_tokens_total", labels) or 0 for what in ("lost", "duplicated")]
        assert counts == ([0, 0] if left else [lost, twice])


def test_late_answers_are_counted_by_tenant() -> None:
    instruments = Instruments()
    for last_ms in (1450, 1451, 9000):
        instruments.ended(live(FinishReason.STOP, DeliveryTimes(first_ms=1400, last_ms=last_ms, tokens=2)), "stop")
    labels = {"tier": "gold", "tenant": "acme"}
    assert instruments.registry.get_sample_value("tierline_gateway_missed_requests_total", labels) == 2
