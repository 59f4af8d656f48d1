from collections.abc import Sequence

from gateway_rig import tenant, tier

from tierline.api.policy import TenantPolicy
from tierline.scheduling.admission.quota import Ask
from tierline.wire.frames import Sampling
from tierline_gateway.front.generation import Generation
from tierline_gateway.streams.ledger import Ledger
from tierline_gateway.streams.live import LiveRequest

SAMPLING = Sampling(max_tokens=100, temperature=0.0, top_p=1.0, top_k=0, seed=1, stop_token_ids=(), ignore_eos=False)


def nothing(_: Sequence[int]) -> str:
    return ""


def stream_of(owner: TenantPolicy) -> LiveRequest:
    generation = Generation("m", (1, 2), SAMPLING, (), True, False, False)
    return LiveRequest.begin(
        request_id="r", generation=generation, tenant=owner, tier=tier("t", 1), decode=nothing, now_ms=0.0
    )


def test_a_limit_set_while_an_old_stream_delivers_is_enforced() -> None:
    ledger, old = Ledger(), stream_of(tenant("acme"))
    ledger.usage(old.tenant)
    ledger.begin(old)
    limited = tenant("acme", tokens_per_minute=10, max_concurrent_requests=1)
    breach = ledger.usage(limited).breach(Ask(1), 0.0)
    assert breach is not None
    assert breach.limit == "limits.maxConcurrentRequests"
    ledger.delivered(old, 12, 0.0)
    ledger.end(old, 0.0)
    breach = ledger.usage(limited).breach(Ask(1), 0.0)
    assert breach is not None, "what the old stream used counts against the new limit"
    assert breach.limit == "limits.tokensPerMinute"


def test_a_raised_limit_keeps_what_was_used() -> None:
    ledger, old = Ledger(), stream_of(tenant("acme", requests_per_minute=1))
    ledger.usage(old.tenant)
    ledger.begin(old)
    assert ledger.usage(old.tenant).breach(Ask(1), 0.0) is not None
    raised = tenant("acme", requests_per_minute=2)
    assert ledger.usage(raised).breach(Ask(1), 0.0) is None
    ledger.end(old, 0.0)
    second = stream_of(raised)
    ledger.begin(second)
    assert ledger.usage(raised).breach(Ask(1), 0.0) is not None
