"""The engine's side of the credits: what each connected gateway was granted and last told."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tierline.wire.credits import CreditIssuer
from tierline.wire.frames import Credits


@dataclass(slots=True)
class _Account:
    issuer: CreditIssuer = field(default_factory=CreditIssuer)
    told: Credits = field(default_factory=lambda: Credits(0, 0))


class CreditLedger:
    """One account for each gateway; free capacity is shared equally between those connected.

    `request_blocks` is what the longest request can cost.
    """

    def __init__(self, request_blocks: int) -> None:
        self._request_blocks = request_blocks
        self._accounts: dict[int, _Account] = {}

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

    def grant(self, gateway: int, free_requests: int, free_blocks: int) -> tuple[Credits, bool]:
        """Return the gateway's totals now, and whether it has not been told them yet.

        Each gateway's share is enough for one request of full length as long as one fits: were it less, a long
        request could never be sent while other gateways are connected. Who comes second then gets a `Nack`.
        """
        account, gateways = self._accounts[gateway], len(self._accounts)
        requests = max(free_requests, min(free_requests, 1) * gateways)
        blocks = max(free_blocks, min(free_blocks, self._request_blocks) * gateways)
        granted = account.issuer.grant(requests, blocks, gateways)
        changed = granted != account.told
        account.told = granted
        return granted, changed
