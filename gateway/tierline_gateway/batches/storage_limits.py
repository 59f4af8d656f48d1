"""How much of the store tenants may use."""

from dataclasses import dataclass
from typing import Final

MEBIBYTE: Final = 1024 * 1024
DEFAULT_TOTAL_BYTES: Final = 2048 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """Bounds of what is kept. A tenant has at most half of the whole, so that none locks out all others.

    They are looked at before each piece of a file: what arrives at the same time may go over them by a piece each.
    """

    total_bytes: int = DEFAULT_TOTAL_BYTES
    file_bytes: int = 100 * MEBIBYTE
    files: int = 1000
    batches: int = 1000
    open_batches: int = 20

    @property
    def tenant_bytes(self) -> int:
        return self.total_bytes // 2
