"""Usage and bills of tenants. Fairness is the queue's own ledger: it charges at dispatch, a bill only what arrived."""

from collections import Counter

from tierline.api.policy import TenantPolicy
from tierline.scheduling.admission.quota import QuotaLimits, TenantUsage
from tierline_gateway.shared.quota_demand import QuotaDemand
from tierline_gateway.streams.live import LiveRequest


class Ledger:
    """Quota usage of each tenant, and the tokens that were delivered to it; `demand` is what other gateways learn."""

    def __init__(self) -> None:
        self.demand = QuotaDemand()
        self._usage: dict[str, TenantUsage] = {}
        self.billed_prompt_tokens: Counter[str] = Counter()
        self.billed_output_tokens: Counter[str] = Counter()

    def usage(self, tenant: TenantPolicy) -> TenantUsage:
        """Return the usage of a tenant that asks for admission, measured from now on against the limits in `tenant`.

        Only admission may set limits: a stream carries the tenant as it was when the stream began.
        """
        limits = QuotaLimits(
            tenant.tokens_per_minute,
            tenant.requests_per_minute,
            tenant.max_concurrent_requests,
            tenant.max_kv_cache_percent,
            tenant.cents_per_day,
        )
        limits = self.demand.ask(tenant.tenant, limits)
        usage = self._usage.get(tenant.tenant)
        if usage is None:
            usage = self._usage[tenant.tenant] = TenantUsage(limits)
            self.demand.spending.track(tenant.tenant, usage.spending)
        usage.adopt(limits)
        return usage

    def usage_of(self, live: LiveRequest) -> TenantUsage:
        """Return the usage that an admitted request counts in."""
        return self._usage[live.tenant.tenant]

    def begin(self, live: LiveRequest) -> None:
        """Count an admitted request; further choices of its answer are no requests, only their tokens count."""
        if not live.fork_of:
            self.demand.begin(live.tenant.tenant)
            self.usage_of(live).begin(live.ask, live.arrival_ms)

    def end(self, live: LiveRequest, now_ms: float) -> None:
        """Book what an answer cost; what was set aside for its choices goes with the first one, which ends last."""
        prompt_tokens = len(live.journal.prompt_ids) if live.delivery.tokens and not live.fork_of else 0
        self.usage_of(live).billed(live.price.microcents(prompt_tokens, live.delivery.tokens), now_ms)
        if not live.fork_of:
            self.demand.end(live.tenant.tenant)
            self.usage_of(live).end(live.ask, now_ms)

    def delivered(self, live: LiveRequest, tokens: int, now_ms: float) -> None:
        """Bill tokens that reached the client; the prompt is billed once, with the first of the first choice."""
        tenant = live.tenant.tenant
        if tokens and not live.delivery.tokens and not live.fork_of:
            self.billed_prompt_tokens[tenant] += len(live.journal.prompt_ids)
        self.billed_output_tokens[tenant] += tokens
        self._usage[tenant].generated(tokens, now_ms)
        live.delivery.delivered(tokens, now_ms)
