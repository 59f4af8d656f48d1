"""Which fetched models go when a node's cache is larger than it may be: least recently used first (LRU).

Inputs: entries with their size, when a worker last opened them, and whether one uses them now. Bounds: nothing in use
goes, so the cache may stay above its limit while everything is used. When not to use it: without a limit.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One fetched model, or what is left of a fetch that never ended."""

    name: str
    bytes: int
    opened_ns: int
    in_use: bool = False


def to_evict(entries: Iterable[CacheEntry], limit_bytes: int) -> tuple[CacheEntry, ...]:
    """Return the entries to give up so that the others fit; 0 is no limit."""
    known = tuple(entries)
    excess = sum(it.bytes for it in known) - limit_bytes if limit_bytes else 0
    going: list[CacheEntry] = []
    for entry in sorted((it for it in known if not it.in_use), key=lambda it: (it.opened_ns, it.name)):
        if excess <= 0:
            break
        if entry.bytes:
            going.append(entry)
            excess -= entry.bytes
    return tuple(going)
