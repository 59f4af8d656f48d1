"""Loopback addresses for pods: every pod has its own, so all pods can use the same ports."""

import ipaddress
import socket
import zlib
from collections.abc import Set

_CLAIM_PORT = 7999
_FIRST_BLOCK = 16
_BLOCKS = 224
_BLOCK_SIZE = 1 << 16


class AddressesExhaustedError(Exception):
    """Every address is taken, by this cluster's pods or by other clusters on the machine."""


def claim_block(key: str) -> tuple[socket.socket, str]:
    """Claim a /16 of 127/8 for one cluster and return the claim with the network's first address.

    The claim is a listening socket, so it ends with the process; `key` decides which block is tried first.
    """
    start = zlib.crc32(key.encode()) % _BLOCKS
    for offset in range(_BLOCKS):
        block = _FIRST_BLOCK + (start + offset) % _BLOCKS
        claim = socket.socket()
        try:
            claim.bind((f"127.{block}.0.1", _CLAIM_PORT))
            claim.listen(1)
        except OSError:
            claim.close()
            continue
        return claim, f"127.{block}.0.0"
    raise AddressesExhaustedError("every loopback block is claimed; stop another development cluster")


class AddressPool:
    """Hands out addresses of one block in turn, so that a freed one rests before it is used again."""

    def __init__(self, network: str) -> None:
        self._base = int(ipaddress.IPv4Address(network))
        self._next = 2
        self._taken: set[str] = set()

    @property
    def taken(self) -> Set[str]:
        return self._taken

    def take(self, wanted: str = "") -> str:
        """Return `wanted` when it is free and of this block, else the next free address."""
        if wanted and self._owns(wanted) and wanted not in self._taken:
            self._taken.add(wanted)
            return wanted
        for _ in range(_BLOCK_SIZE - 3):
            address = str(ipaddress.IPv4Address(self._base + self._next))
            self._next = self._next + 1 if self._next < _BLOCK_SIZE - 2 else 2
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise AddressesExhaustedError("every pod address is taken; delete pods")

    def give_back(self, address: str) -> None:
        self._taken.discard(address)

    def _owns(self, address: str) -> bool:
        return 1 < int(ipaddress.IPv4Address(address)) - self._base < _BLOCK_SIZE - 1
