"""When a client got its tokens."""

from dataclasses import dataclass


@dataclass(slots=True)
class DeliveryTimes:
    """Times of one answer's deliveries in gateway clock ms; 0 tokens until the first."""

    first_ms: float = 0.0
    last_ms: float = 0.0
    max_gap_ms: float = 0.0
    tokens: int = 0

    def delivered(self, tokens: int, now_ms: float) -> None:
        """Note that `tokens` more reached the client's connection."""
        if not tokens:
            return
        if not self.tokens:
            self.first_ms = now_ms
        else:
            self.max_gap_ms = max(self.max_gap_ms, now_ms - self.last_ms)
        self.tokens += tokens
        self.last_ms = now_ms

    def tpot_ms(self) -> float | None:
        """Mean time per token after the first delivery; None for answers of fewer than two tokens."""
        return (self.last_ms - self.first_ms) / (self.tokens - 1) if self.tokens > 1 else None
