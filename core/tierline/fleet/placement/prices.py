"""The price table: cents per accelerator-hour by kind of accelerator, supply and zone.

    price(supply, market) = the entry that fits best: accelerator before zone, exact before "*"

Inputs: a list of entries as JSON, which the chart puts into a ConfigMap. Bounds: at most `MAX_ENTRIES`; a price is at
least 0. What no entry fits costs `UNKNOWN_CENTS`, so that a missing price never looks like a gift. When not to use it:
as a bill. Providers change spot prices by the hour; the table ranks places and states a fleet's rate.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tierline.fleet.placement.market import Market, Supply

ANY = "*"
MAX_ENTRIES = 2_000
UNKNOWN_CENTS = 100_000


class WrongPrices(ValueError):
    """A price table that cannot be read; the message names the entry, the field and the fix."""


@dataclass(frozen=True, slots=True)
class Price:
    """One entry; `ANY` stands for every accelerator or zone."""

    accelerator: str
    supply: Supply
    zone: str
    cents_per_hour: int

    def fits(self, supply: Supply, market: Market) -> bool:
        return (
            self.supply is supply and self.accelerator in {ANY, market.accelerator} and self.zone in {ANY, market.zone}
        )

    @property
    def precision(self) -> tuple[bool, bool]:
        return (self.accelerator != ANY, self.zone != ANY)


@dataclass(frozen=True, slots=True)
class PriceTable:
    """All entries; with none, everything costs the same."""

    entries: tuple[Price, ...] = ()

    def cents_per_hour(self, supply: Supply, market: Market) -> int:
        """Return the price of one accelerator-hour there."""
        if not self.entries:
            return 0
        fitting = [entry for entry in self.entries if entry.fits(supply, market)]
        best = max(fitting, key=lambda entry: entry.precision, default=None)
        return best.cents_per_hour if best else UNKNOWN_CENTS

    def markets(self, supply: Supply) -> frozenset[Market]:
        """Return the markets that are named outright: there may be supply although no node is there now."""
        return frozenset(
            Market(entry.zone, entry.accelerator)
            for entry in self.entries
            if entry.supply is supply and ANY not in {entry.zone, entry.accelerator}
        )


def read_prices(text: str) -> PriceTable:
    """Return the table that the JSON says; raises `WrongPrices`."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise WrongPrices(f"the price table is not JSON: {error}") from None
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise WrongPrices(f"the price table must be a list of at most {MAX_ENTRIES} entries")
    return PriceTable(tuple(_prices(entries)))


def _prices(entries: list[Any]) -> Iterable[Price]:
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise WrongPrices(f"prices[{index}] must be an object, not {entry!r}")
        yield Price(
            accelerator=_text(entry, index, "accelerator"),
            supply=_supply(entry, index),
            zone=_text(entry, index, "zone"),
            cents_per_hour=_cents(entry, index),
        )


def _text(entry: dict[str, Any], index: int, field: str) -> str:
    value = entry.get(field, ANY)
    if not isinstance(value, str):
        raise WrongPrices(f"prices[{index}].{field} must be a name or {ANY!r}, not {value!r}")
    return value


def _supply(entry: dict[str, Any], index: int) -> Supply:
    value = entry.get("capacityType")
    known = {supply.value: supply for supply in Supply}
    if not isinstance(value, str) or value not in known:
        raise WrongPrices(f"prices[{index}].capacityType must be spot or on-demand, not {value!r}")
    return known[value]


def _cents(entry: dict[str, Any], index: int) -> int:
    value = entry.get("centsPerHour")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WrongPrices(f"prices[{index}].centsPerHour must be a whole number of cents, not {value!r}")
    return value
