"""Kubernetes quantities as numbers."""

from decimal import Decimal, InvalidOperation
from typing import Any

_SUFFIXES = {
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P"), start=1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
}
_BY_LENGTH = sorted(_SUFFIXES, key=len, reverse=True)


def amount(quantity: Any) -> Decimal | None:
    """Return the number that a quantity means; None for what is no quantity."""
    text = str(quantity)
    suffix = next((it for it in _BY_LENGTH if text.endswith(it)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return None
