"""Limits that need to know more than counts: money in a day, a share of the fleet's KV cache."""

import pytest
from msgspec.structs import replace

from tierline.api.token_prices import TokenPrice
from tierline.scheduling.admission.kv_share import KVShares
from tierline.scheduling.admission.quota import Ask, QuotaLimits, TenantUsage
from tierline.scheduling.admission.spending import HOUR_MS, HOURS
from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.routing.choice import WorkerView
from tierline.scheduling.routing.reservations import Reservation, Reservations

PRICE = TokenPrice(prompt_cents=100, output_cents=1000)
"""A prompt of 1,000 tokens and an answer of 100 cost a fifth of a cent."""
ASK = Ask(1000, 100, PRICE)


def test_the_longest_answer_is_set_aside_and_what_was_delivered_is_booked() -> None:
    tenant = TenantUsage(QuotaLimits(cents_per_day=1))
    for _ in range(5):
        assert tenant.breach(ASK, 0.0) is None
        tenant.begin(ASK, 0.0)
    breach = tenant.breach(ASK, 0.0)
    assert breach is not None
    assert (breach.limit, breach.allowed) == ("budget.centsPerDay", 1)
    tenant.billed(PRICE.microcents(1000, 0), 10.0)
    tenant.end(ASK, 10.0)
    assert tenant.spent_microcents(10.0) == 900_000
    assert tenant.breach(Ask(1000, 0, PRICE), 10.0) is None


def test_the_retry_is_when_old_spending_leaves_the_day() -> None:
    tenant = TenantUsage(QuotaLimits(cents_per_day=1))
    tenant.billed(PRICE.microcents(10_000, 0), 0.5 * HOUR_MS)
    breach = tenant.breach(ASK, HOUR_MS)
    assert breach is not None
    assert breach.retry_after_ms == HOURS * HOUR_MS
    assert tenant.breach(ASK, HOUR_MS + breach.retry_after_ms) is None


def test_models_of_different_prices_count_in_one_budget() -> None:
    tenant, cheap = TenantUsage(QuotaLimits(cents_per_day=1)), Ask(1000, 100, TokenPrice(1, 10))
    tenant.begin(ASK, 0.0)
    tenant.begin(cheap, 0.0)
    assert tenant.spent_microcents(0.0) == 200_000 + 2_000
    tenant.end(ASK, 1.0)
    assert tenant.spent_microcents(1.0) == 2_000
    tenant.end(cheap, 1.0)
    assert tenant.spent_microcents(1.0) == 0


def test_a_full_tenant_is_told_how_often_its_own_requests_end() -> None:
    tenant = TenantUsage(QuotaLimits(max_concurrent_requests=2))
    for _ in range(100):
        tenant.begin(Ask(1), 0.0)
    for number in range(98):
        tenant.end(Ask(1), 250.0 * number)
    breach = tenant.breach(Ask(1), 25_000.0)
    assert breach is not None
    assert breach.retry_after_ms == pytest.approx(250, rel=0.01)


WORKER = WorkerView("w0", True, 4, 100, 16, 1600, 100)


def request(request_id: str, tenant: str, percent: int | None, **changes: object) -> QueuedRequest:
    made = QueuedRequest(request_id, tenant, "t", 10, 100, 1600, 0.0, 0.0, 1e9, max_kv_cache_percent=percent)
    return replace(made, peak_tokens=400.0, **changes)  # type: ignore[arg-type]


def test_a_tenant_at_its_share_waits_and_holds_up_nobody() -> None:
    book, queue = Reservations(lambda _: 0), QueueManager()
    shares = KVShares(book)
    shares.observe([WORKER])
    book.make("running", Reservation("w0", "greedy", 10, 100.0, 500.0))
    greedy, modest = request("a", "greedy", 50), request("b", "modest", 50)
    queue.push(greedy)
    queue.push(modest)
    assert queue.next(1.0, lambda _: True, shares.capped) == modest, "late or not, it is passed"
    queue.remove("b")
    assert queue.next(1.0, lambda _: True, shares.capped) is None
    book.release("running")
    assert queue.next(1.0, lambda _: True, shares.capped) == greedy


def test_a_share_too_small_for_one_request_shuts_nobody_out() -> None:
    shares = KVShares(Reservations(lambda _: 0))
    shares.observe([WORKER])
    assert not shares.capped(request("a", "acme", 1))


def test_the_breach_names_the_limit() -> None:
    book = Reservations(lambda _: 0)
    shares = KVShares(book)
    shares.observe([WORKER])
    book.make("running", Reservation("w0", "acme", 10, 100.0, 500.0))
    usage = TenantUsage(QuotaLimits())
    breach = shares.breach(request("a", "acme", 50), usage)
    assert breach is not None
    assert (breach.limit, breach.allowed) == ("limits.maxKVCachePercent", 50)
    assert shares.breach(request("a", "acme", None), usage) is None
    assert not shares.capped(request("a", "acme", 50, resumed=True))
