"""A tenant's quotas: requests and tokens a minute, requests at a time."""

from dataclasses import dataclass, field

_MINUTE_MS = 60_000.0


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
    """A tenant's limits; None means none."""

    tokens_per_minute: int | None = None
    requests_per_minute: int | None = None
    max_concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class QuotaBreach:
    """Which limit is reached, and in how many milliseconds a new try may pass."""

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
        self.concurrent = 0

    def adopt(self, limits: QuotaLimits) -> None:
        """Take over changed limits without forgetting what was used."""
        if limits == self._limits:
            return
        self._tokens = _adapted(self._tokens, limits.tokens_per_minute)
        self._requests = _adapted(self._requests, limits.requests_per_minute)
        self._limits = limits

    def breach(self, prompt_tokens: int, now_ms: float) -> QuotaBreach | None:
        """Say which limit a new request would break, None when it may come in."""
        allowed = self._limits.max_concurrent_requests
        if allowed is not None and self.concurrent >= allowed:
            return QuotaBreach("maxConcurrentRequests", allowed, 1000.0)
        for name, bucket, amount in (
            ("requestsPerMinute", self._requests, 1.0),
            ("tokensPerMinute", self._tokens, float(prompt_tokens)),
        ):
            wait_ms = bucket.wait_ms(amount, now_ms) if bucket else 0.0
            if bucket and wait_ms > 0:
                return QuotaBreach(name, int(bucket.per_minute), wait_ms)
        return None

    def levels(self, now_ms: float) -> QuotaLevels:
        """Return what is left now."""
        tokens, requests = (bucket.left(now_ms) if bucket else None for bucket in (self._tokens, self._requests))
        return QuotaLevels(tokens, requests, self.concurrent, self._limits.max_concurrent_requests)

    def begin(self, prompt_tokens: int, now_ms: float) -> None:
        """Count an admitted request."""
        self.concurrent += 1
        if self._requests:
            self._requests.spend(1, now_ms)
        self.generated(prompt_tokens, now_ms)

    def generated(self, tokens: int, now_ms: float) -> None:
        """Count generated tokens as they are delivered."""
        if self._tokens:
            self._tokens.spend(tokens, now_ms)

    def end(self) -> None:
        """Count a request that ended, however it did."""
        self.concurrent -= 1


def _bucket(per_minute: int | None) -> TokenBucket | None:
    return TokenBucket(float(per_minute)) if per_minute is not None else None


def _adapted(bucket: TokenBucket | None, per_minute: int | None) -> TokenBucket | None:
    if bucket is None or per_minute is None:
        return _bucket(per_minute)
    bucket.resize(float(per_minute))
    return bucket
