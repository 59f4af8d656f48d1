"""A tenant's quotas: requests and tokens a minute, requests at a time, cents a day.

What a request may cost at the most is set aside when it is admitted and settled when it ends, so the budget holds
however many run at one time:

    spent in the last day + set aside for those admitted + this request's longest answer  <=  centsPerDay

`Retry-After` is the time the limit takes to make room: a bucket's refill, the time between two ends of the tenant's own
requests, or until old spending leaves the day.
"""

from dataclasses import dataclass, field

import msgspec

from tierline.api.token_prices import FREE, TokenPrice
from tierline.scheduling.admission.spending import MICROCENTS, DayOfSpending

_MINUTE_MS = 60_000.0
_SMOOTHING = 0.2
_SOON_MS = 1000.0


@dataclass(slots=True)
class TokenBucket:
    """Refills evenly to `per_minute`; may go into debt, which later requests wait out.

    Debt is needed because an answer's length is not known when the request is admitted.
    """

    per_minute: float
    level: float = field(init=False)
    updated_ms: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.per_minute

    def wait_ms(self, amount: float, now_ms: float) -> float:
        """Return how long until `amount` is there (0: now); a whole minute's worth is the most ever asked."""
        self._refill(now_ms)
        missing = min(amount, self.per_minute) - self.level
        return max(missing, 0.0) / self.per_minute * _MINUTE_MS

    def spend(self, amount: float, now_ms: float) -> None:
        self._refill(now_ms)
        self.level -= amount

    def left(self, now_ms: float) -> float:
        """Return the level; negative while more was used than there was."""
        self._refill(now_ms)
        return self.level

    def resize(self, per_minute: float) -> None:
        """Take over a changed quota; what was used stays used."""
        self.level += per_minute - self.per_minute
        self.per_minute = per_minute

    def _refill(self, now_ms: float) -> None:
        gained = (now_ms - self.updated_ms) / _MINUTE_MS * self.per_minute
        self.level = min(self.level + max(gained, 0.0), self.per_minute)
        self.updated_ms = now_ms


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """A tenant's limits; None means no limit."""

    tokens_per_minute: int | None = None
    requests_per_minute: int | None = None
    max_concurrent_requests: int | None = None
    max_kv_cache_percent: int | None = None
    cents_per_day: int | None = None


class Ask(msgspec.Struct, frozen=True):
    """What a request asks for: its prompt, and at the most so many tokens in all its answers, at its model's price."""

    prompt_tokens: int
    most_output_tokens: int = 0
    price: TokenPrice = FREE

    @property
    def most_microcents(self) -> int:
        """What it costs at the most."""
        return self.price.microcents(self.prompt_tokens, self.most_output_tokens)


@dataclass(frozen=True, slots=True)
class QuotaBreach:
    """Which limit, a field of the quota, is reached, and in how many milliseconds a new try may pass."""

    limit: str
    allowed: int
    retry_after_ms: float


@dataclass(frozen=True, slots=True)
class QuotaLevels:
    """How much of each limit is left; None where there is none."""

    tokens_left: float | None
    requests_left: float | None
    concurrent_requests: int
    max_concurrent_requests: int | None


class TenantUsage:
    """What one tenant used lately, measured against its limits."""

    def __init__(self, limits: QuotaLimits) -> None:
        self._limits = limits
        self._tokens = _bucket(limits.tokens_per_minute)
        self._requests = _bucket(limits.requests_per_minute)
        self.spending = DayOfSpending()
        self._ended_ms: float | None = None
        self.end_interval_ms = _SOON_MS
        self.concurrent = 0

    @property
    def limits(self) -> QuotaLimits:
        return self._limits

    def adopt(self, limits: QuotaLimits) -> None:
        """Take over changed limits without forgetting what was used."""
        if limits == self._limits:
            return
        self._tokens = _adapted(self._tokens, limits.tokens_per_minute)
        self._requests = _adapted(self._requests, limits.requests_per_minute)
        self._limits = limits

    def breach(self, ask: Ask, now_ms: float) -> QuotaBreach | None:
        """Say which limit a new request would break, None when it may come in."""
        allowed = self._limits.max_concurrent_requests
        if allowed is not None and self.concurrent >= allowed:
            return QuotaBreach("limits.maxConcurrentRequests", allowed, self.end_interval_ms)
        for name, bucket, amount in (
            ("limits.requestsPerMinute", self._requests, 1.0),
            ("limits.tokensPerMinute", self._tokens, float(ask.prompt_tokens)),
        ):
            wait_ms = bucket.wait_ms(amount, now_ms) if bucket else 0.0
            if bucket and wait_ms > 0:
                return QuotaBreach(name, int(bucket.per_minute), wait_ms)
        return self._over_budget(ask, now_ms)

    def levels(self, now_ms: float) -> QuotaLevels:
        """Return what is left now."""
        tokens, requests = (bucket.left(now_ms) if bucket else None for bucket in (self._tokens, self._requests))
        return QuotaLevels(tokens, requests, self.concurrent, self._limits.max_concurrent_requests)

    def spent_microcents(self, now_ms: float) -> int:
        """Return what counts against the budget now, what is set aside included."""
        return self.spending.taken(now_ms)

    def begin(self, ask: Ask, now_ms: float) -> None:
        """Count an admitted request."""
        self.concurrent += 1
        self.spending.set_aside += ask.most_microcents
        if self._requests:
            self._requests.spend(1, now_ms)
        self.generated(ask.prompt_tokens, now_ms)

    def generated(self, tokens: int, now_ms: float) -> None:
        """Count generated tokens as they are delivered."""
        if self._tokens:
            self._tokens.spend(tokens, now_ms)

    def billed(self, microcents: int, now_ms: float) -> None:
        """Book what an answer that ended cost."""
        if microcents:
            self.spending.spend(microcents, now_ms)

    def end(self, ask: Ask, now_ms: float) -> None:
        """Count a request that ended, however it did."""
        self.concurrent -= 1
        self.spending.set_aside -= ask.most_microcents
        if self._ended_ms is not None:
            self.end_interval_ms += _SMOOTHING * (now_ms - self._ended_ms - self.end_interval_ms)
        self._ended_ms = now_ms if self.concurrent else None

    def _over_budget(self, ask: Ask, now_ms: float) -> QuotaBreach | None:
        cents = self._limits.cents_per_day
        if cents is None:
            return None
        most = ask.most_microcents * self.spending.weight
        over = self.spent_microcents(now_ms) + most - cents * MICROCENTS
        if over <= 0:
            return None
        return QuotaBreach("budget.centsPerDay", cents, max(self.spending.wait_ms(over, now_ms), self.end_interval_ms))


def _bucket(per_minute: int | None) -> TokenBucket | None:
    return TokenBucket(float(per_minute)) if per_minute is not None else None


def _adapted(bucket: TokenBucket | None, per_minute: int | None) -> TokenBucket | None:
    if bucket is None or per_minute is None:
        return _bucket(per_minute)
    bucket.resize(float(per_minute))
    return bucket
