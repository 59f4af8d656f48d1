import json
from collections.abc import Sequence

from gateway_rig import tenant, tier

from tierline.wire.frames import Sampling
from tierline.wire.states import FinishReason
from tierline_gateway.front.generation import Generation
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.streams.request_log import RequestLog

SAMPLING = Sampling(max_tokens=9, temperature=0.0, top_p=1.0, top_k=0, seed=1, stop_token_ids=(), ignore_eos=False)


def nothing(_: Sequence[int]) -> str:
    return ""


def ended(name: str, reason: FinishReason = FinishReason.LENGTH, tokens: int = 0) -> LiveRequest:
    live = LiveRequest.begin(
        request_id=name,
        generation=Generation("m", (1,), SAMPLING),
        tenant=tenant("acme"),
        tier=tier("t", 1),
        decode=nothing,
        now_ms=0.0,
    )
    live.journal.emitted_ids.extend(range(tokens))
    live.finish(reason)
    return live


def remember(log: RequestLog, *requests: LiveRequest) -> None:
    for live in requests:
        log.add(live, str(live.life.finish_reason))


def test_the_oldest_is_forgotten() -> None:
    log = RequestLog(remembered=2)
    remember(log, ended("a"), ended("b"), ended("c"))
    assert log.get("a") is None
    assert "a" not in log
    assert "c" in log


def test_what_was_generated_is_told_as_a_list() -> None:
    log = RequestLog()
    remember(log, ended("a", tokens=3))
    record = log.get("a")
    assert record is not None
    assert json.loads(json.dumps(record))["emitted_ids"] == [0, 1, 2]
    assert record["outcome"] == "length"


def test_long_answers_are_remembered_for_as_many_tokens_as_there_is_room() -> None:
    log = RequestLog(remembered_tokens=10)
    remember(log, ended("a", tokens=6), ended("b", tokens=4))
    assert "a" in log
    remember(log, ended("c", tokens=1))
    assert ("a" in log, "b" in log, "c" in log) == (False, True, True)
    remember(log, ended("d", tokens=50))
    assert "d" in log, "the newest stays, however long it is"


def test_refusals_push_out_only_refusals() -> None:
    log = RequestLog(remembered=2)
    remember(log, ended("served", tokens=3))
    remember(log, *(ended(f"refused-{at}", FinishReason.REFUSED) for at in range(5)))
    assert "served" in log
    assert ("refused-2" in log, "refused-4" in log) == (False, True)
