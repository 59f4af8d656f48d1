"""Kubernetes quantities ("500m", "2Gi") as exact numbers, for the downward API's `resourceFieldRef`."""

import math
import re
from fractions import Fraction

_QUANTITY = re.compile(r"^(?P<number>[+-]?(\d+\.?\d*|\.\d+))(?P<suffix>([eE][+-]?\d+)|[a-zA-Z]*)$")
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """Return the exact value of `text`; raises `ValueError` naming it when it is no quantity."""
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m or 2Gi")
    number, suffix = Fraction(match["number"]), match["suffix"]
    if suffix in _SUFFIXES:
        return number * _SUFFIXES[suffix]
    if suffix[0] in "eE" and suffix[1:].lstrip("+-").isdigit():
        return number * Fraction(10) ** int(suffix[1:])
    raise ValueError(f"{text!r} has the unknown unit {suffix!r}")


def in_units_of(quantity: str, divisor: str) -> int:
    """Express `quantity` in `divisor`s, rounded up as the downward API does; a divisor of 0 means 1."""
    unit = parse_quantity(divisor) or Fraction(1)
    return math.ceil(parse_quantity(quantity) / unit)
