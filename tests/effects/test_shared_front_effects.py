"""Fairness over two models behind one gateway, on the shipped queue: linked counters against the two simpler ways.

`chat` serves five requests a second, `code` one. Tenant `both` always waits at both, `one` at code only, and `late`
comes to chat after a hundred seconds.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tierline.scheduling.queueing.queue import QueueManager
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.scheduling.queueing.service_counters import ServiceCounters

PERIODS_MS = {"chat": 200, "code": 1000}
SECONDS = 200
LATE_S = 100
AHEAD = 3
"""So many requests of a tenant wait at a time."""


@dataclass
class Front:
    """Two queues on one virtual clock; every request has a prompt of 100 tokens and an answer of 100."""

    link: Callable[[QueueManager, QueueManager], None]
    served: dict[str, list[str]] = field(default_factory=lambda: {"chat": [], "code": []})

    def run(self) -> "Front":
        queues, serial = {model: QueueManager() for model in PERIODS_MS}, itertools.count()
        self.link(queues["chat"], queues["code"])

        def ask(model: str, tenant: str, now_ms: int, times: int = 1) -> None:
            for _ in range(times):
                queues[model].push(request(f"r{next(serial)}", tenant, now_ms))

        for model, tenant in (("chat", "both"), ("code", "both"), ("code", "one")):
            ask(model, tenant, 0, AHEAD)
        for now_ms in range(0, SECONDS * 1000, min(PERIODS_MS.values())):
            if now_ms == LATE_S * 1000:
                ask("chat", "late", now_ms, AHEAD)
            for model, queue in queues.items():
                if now_ms % PERIODS_MS[model] == 0:
                    turn = queue.next(now_ms, lambda _: True)
                    queue.take(turn)
                    self.served[model].append(turn.tenant)
                    ask(model, turn.tenant, now_ms)
        return self

    def share_of_one(self) -> float:
        """Return the part of code's answers that went to who has nothing else."""
        return Counter(self.served["code"])["one"] / len(self.served["code"])

    def longest_lock_out(self) -> int:
        """Return the most answers in a row that chat gave to others while `both` waited."""
        runs = itertools.groupby(self.served["chat"], lambda tenant: tenant == "both")
        return max((len(list(run)) for is_both, run in runs if not is_both), default=0)


def request(request_id: str, tenant: str, now_ms: int) -> QueuedRequest:
    return QueuedRequest(
        request_id=request_id,
        tenant=tenant,
        tier="interactive",
        priority=1,
        context_tokens=100,
        total_tokens=200,
        arrival_ms=now_ms,
        deadline_ms=now_ms + 600_000,
        expires_ms=now_ms + 600_000,
        expected_output_tokens=100,
        service_difference_tokens=0,
    )


def linked(chat: QueueManager, code: QueueManager) -> None:
    chat.counters.stand_beside([code.counters])
    code.counters.stand_beside([chat.counters])


def one_for_both(chat: QueueManager, code: QueueManager) -> None:
    chat.counters = code.counters = ServiceCounters()


def test_who_has_one_model_only_gets_it_before_who_has_another_too(record_effect) -> None:
    apart, together = Front(lambda *_: None).run(), Front(linked).run()
    assert 0.45 < apart.share_of_one() < 0.55, "without a link everybody has a share of each model"
    record_effect("M1-share", value=together.share_of_one(), threshold=0.9, unit="share of the second model")


def test_a_newcomer_does_not_lock_out_who_was_served_well(record_effect) -> None:
    common, together = Front(one_for_both).run(), Front(linked).run()
    assert common.longest_lock_out() > 50, "one counter credits a newcomer with what it never asked for"
    record_effect("M1-lockout", value=together.longest_lock_out(), threshold=3, unit="answers in a row", at_least=False)
    assert 0.45 < Counter(together.served["chat"][-200:])["late"] / 200 < 0.55
