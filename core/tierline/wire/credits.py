"""Credits: how a worker lets several gateways dispatch to it without a race on stale headroom.

A worker grants each gateway totals of requests and blocks that only grow (as HTTP/2 and QUIC do with their windows,
RFC 9113 §5.2, RFC 9000 §4.1). A gateway spends on dispatch; what is left is granted minus spent. The worker counts a
submit's cost the same way, so both ledgers agree whatever is in flight. Credit that was granted cannot be revoked:
when the worker's headroom shrank meanwhile it answers `Nack`, and the cost counts as spent on both sides.

Capacity follows demand: a gateway that holds its tenants back for tenants that wait elsewhere hands back its unused
credit, which counts as spent on both sides too, and is granted nothing while others take what is free.

Not for: fairness between tenants (the gateway's queue decides who spends).
"""

from dataclasses import dataclass, field

from tierline.wire.frames import Credits


def blocks_for(tokens: int, block_tokens: int) -> int:
    """Return how many blocks of `block_tokens` hold `tokens` tokens."""
    return -(-tokens // block_tokens)


def submit_cost_blocks(context_tokens: int, block_tokens: int) -> int:
    """Return what a submit costs in blocks, the same on both sides: its known tokens (prompt and emitted) and one more.

    Not its longest possible answer: most answers are much shorter, and a worker that runs out of blocks preempts.
    """
    return blocks_for(context_tokens + 1, block_tokens)


@dataclass(slots=True)
class CreditAccount:
    """A gateway's side: what it may still dispatch to one worker."""

    granted: Credits = field(default_factory=lambda: Credits(0, 0))
    spent_requests: int = 0
    spent_blocks: int = 0

    def update(self, newer: Credits) -> None:
        """Take over newer totals; older ones that arrive late change nothing."""
        old = self.granted
        if newer.requests_total >= old.requests_total and newer.blocks_total >= old.blocks_total:
            self.granted = newer
            return
        self.granted = Credits(max(old.requests_total, newer.requests_total), max(old.blocks_total, newer.blocks_total))

    @property
    def requests(self) -> int:
        return self.granted.requests_total - self.spent_requests

    @property
    def blocks(self) -> int:
        return self.granted.blocks_total - self.spent_blocks

    def affords(self, blocks: int) -> bool:
        return self.requests >= 1 and self.blocks >= blocks

    def spend(self, blocks: int) -> None:
        """Pay for one dispatch; the caller asked `affords`, or overdraws because lower priorities yield to it.

        The worker counts the same, so what was overdrawn is made up for by its next grants.
        """
        self.spent_requests += 1
        self.spent_blocks += blocks

    def hand_back(self) -> tuple[int, int]:
        """Give up what is left; returns the requests and blocks that the worker must be told of."""
        requests, blocks = max(self.requests, 0), max(self.blocks, 0)
        self.spent_requests += requests
        self.spent_blocks += blocks
        return requests, blocks


@dataclass(slots=True)
class CreditIssuer:
    """A worker's side for one gateway: tops outstanding credit up to the gateway's share of the free capacity."""

    granted_requests: int = 0
    granted_blocks: int = 0
    spent_requests: int = 0
    spent_blocks: int = 0

    def spend(self, blocks: int) -> None:
        """Count a submit that arrived, whether it is started or refused."""
        self.spent_requests += 1
        self.spent_blocks += blocks

    def take_back(self, requests: int, blocks: int) -> None:
        """Count what the gateway handed back: as if it were spent, so that both sides' totals agree."""
        self.spent_requests += requests
        self.spent_blocks += blocks

    def grant(self, free_requests: int, free_blocks: int, gateways: int) -> Credits:
        """Raise the totals until what is outstanding equals this gateway's share; never lower them."""
        share_requests = max(free_requests, 0) // max(gateways, 1)
        share_blocks = max(free_blocks, 0) // max(gateways, 1)
        self.granted_requests = max(self.granted_requests, self.spent_requests + share_requests)
        self.granted_blocks = max(self.granted_blocks, self.spent_blocks + share_blocks)
        return Credits(self.granted_requests, self.granted_blocks)
