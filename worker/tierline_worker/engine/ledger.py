"""The engine's side of the credits: what each connected gateway was granted and last told."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tierline.wire.credits import CreditIssuer
from tierline.wire.frames import Credits, Demand

UNUSED_SECONDS: Final = 0.25
"""Room that nobody takes for so long is granted to gateways that hold back as well: none stays idle for fairness."""


@dataclass(slots=True)
class _Account:
    issuer: CreditIssuer = field(default_factory=CreditIssuer)
    told: Credits = field(default_factory=lambda: Credits(0, 0))
    holding: bool = False


class CreditLedger:
    """One account for each gateway; free capacity is shared equally between those that do not hold back.

    `request_blocks` is what the longest request can cost.
    """

    def __init__(self, request_blocks: int) -> None:
        self._request_blocks = request_blocks
        self._accounts: dict[int, _Account] = {}
        self._free_since_s: float | None = None

    def __iter__(self) -> Iterator[int]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def __contains__(self, gateway: int) -> bool:
        return gateway in self._accounts

    def open(self, gateway: int) -> None:
        self._accounts[gateway] = _Account()

    def close(self, gateway: int) -> None:
        self._accounts.pop(gateway, None)

    def spend(self, gateway: int, blocks: int) -> None:
        """Count a submit, started or not."""
        self._accounts[gateway].issuer.spend(blocks)
        self._free_since_s = None

    def demand(self, gateway: int, frame: Demand) -> None:
        """Take back what a gateway does not use, and note whether it holds back."""
        account = self._accounts.get(gateway)
        if account is None:
            return
        account.issuer.take_back(frame.returned_requests, frame.returned_blocks)
        account.holding = frame.holding

    def grant(self, gateway: int, free_requests: int, free_blocks: int, now_s: float) -> tuple[Credits, bool]:
        """Return the gateway's totals now, and whether it has not been told them yet.

        Each gateway's share is enough for one request of full length as long as one fits: were it less, a long
        request could never be sent while other gateways are connected. Who comes second then gets a `Nack`.
        """
        if free_requests < 1 or free_blocks < 1:
            self._free_since_s = None
        elif self._free_since_s is None:
            self._free_since_s = now_s
        account, gateways = self._accounts[gateway], self._sharing(now_s)
        if account.holding and gateways < len(self._accounts):
            free_requests = free_blocks = 0
        requests = max(free_requests, min(free_requests, 1) * gateways)
        blocks = max(free_blocks, min(free_blocks, self._request_blocks) * gateways)
        granted = account.issuer.grant(requests, blocks, gateways)
        changed = granted != account.told
        account.told = granted
        return granted, changed

    def _sharing(self, now_s: float) -> int:
        """Return how many gateways share what is free: those that do not hold back, or all when those leave it."""
        unused = self._free_since_s is not None and now_s - self._free_since_s >= UNUSED_SECONDS
        eager = sum(not account.holding for account in self._accounts.values())
        return len(self._accounts) if unused or not eager else eager
