"""The exchange with what all gateways of a fleet reach: one round trip tells what happened here and what is true now.

A report is numbered, and applied once however often it is sent, so a reply that got lost counts nothing twice. A store
that lost its memory has another `born`; it is then told the counters that each gateway knows, as floors.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class StoreUnavailable(Exception):
    """The store did not answer in time, or not as it should; the report may have been applied or not."""


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """What a tenant spent at a gateway in an hour since the epoch, in millionths of a cent: a total that only grows."""

    gateway: str
    tenant: str
    hour: int
    total: int


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway says of itself, valid until it says something else or is not heard of for too long.

    By tenant: the priorities in which it waits, what it asked for lately, requests that run, money set aside
    for them, tokens of KV cache that they hold.
    """

    waiting: dict[str, tuple[int, ...]] = {}
    asked: dict[str, float] = {}
    running: dict[str, int] = {}
    set_aside: dict[str, int] = {}
    held_tokens: dict[str, int] = {}


class Exchange(msgspec.Struct, frozen=True):
    """One gateway's side. `changes` are rows (tenant, added, floor) as in `service_counters.Change`.

    `born` is the store's as known here, empty when none is; a store with another one takes no changes. `fleet` is whose
    counters these are, empty for those of the gateway's own fleet. `spent` are totals that the store does not have, and
    `spent_version` is up to where those of others are known.
    """

    gateway: str
    number: int
    born: str
    changes: tuple[tuple[str, float, float], ...]
    note: Note
    fleet: str = ""
    spent: tuple[Spent, ...] = ()
    spent_version: int = 0


class Shared(msgspec.Struct, frozen=True):
    """The store's side: counters of the tenants that were reported or wait somewhere, and the other gateways' notes.

    `spent` is what other gateways, also such as ended, spent since the version that was asked for; `version` is now's.
    """

    born: str
    counters: Mapping[str, float]
    notes: Mapping[str, Note]
    spent: tuple[Spent, ...] = ()
    version: int = 0


class SharedStore(Protocol):
    """Merges exchanges."""

    async def exchange(self, exchange: Exchange) -> Shared:
        """Merge and return what is true now; raises `StoreUnavailable` soon when that cannot be done."""
        ...

    async def close(self) -> None: ...
