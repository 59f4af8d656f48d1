"""A store of records in memory, by the rules of `RecordStore`; it survives what a test calls a crash of its users."""

from collections.abc import Collection
from dataclasses import replace

from tierline_gateway.deferred.store import NEVER, Record, Usage


class MemoryRecords:
    """Its calls never wait."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.holders: dict[tuple[str, str], str] = {}

    async def put(self, record: Record, holder: str = "") -> None:
        self.records[record.kind, record.id] = record
        self.holders[record.kind, record.id] = holder

    async def add(self, record: Record) -> bool:
        if (record.kind, record.id) in self.records:
            return False
        await self.put(record)
        return True

    async def replace(self, record: Record, before: bytes) -> bool:
        former = self.records.get((record.kind, record.id))
        if former is None or former.document != before:
            return False
        self.records[record.kind, record.id] = replace(record, blob=former.blob)
        return True

    async def get(self, kind: str, record_id: str) -> Record | None:
        return self.records.get((kind, record_id))

    async def find(self, kind: str, prefix: str = "", tenant: str | None = None) -> list[Record]:
        return [replace(it, blob=b"") for it in self._all(kind, prefix) if tenant in (None, it.tenant)]

    async def read(self, kind: str, prefix: str, after: str, most: int) -> list[Record]:
        return [it for it in self._all(kind, prefix) if it.id > after][:most]

    async def delete(self, kind: str, prefix: str) -> None:
        for it in self._all(kind, prefix):
            del self.records[it.kind, it.id]

    async def usage(self, tenant: str | None = None, kind: str | None = None) -> Usage:
        kept = [it for it in self.records.values() if tenant in (None, it.tenant) and kind in (None, it.kind)]
        return Usage(len(kept), sum(len(it.document) + len(it.blob) for it in kept))

    async def take(self, kind: str, holder: str, now_s: float, until_s: float, most: int) -> list[Record]:
        taken = [it for it in self._all(kind, "") if it.due_s <= now_s][:most]
        for it in taken:
            await self.put(replace(it, due_s=until_s), holder)
        return [replace(it, blob=b"", due_s=until_s) for it in taken]

    async def renew(self, kind: str, holder: str, ids: Collection[str], until_s: float) -> frozenset[str]:
        known = ((kind, one) for one in ids)
        held = [key for key in known if self.holders.get(key) == holder and key in self.records]
        held = [key for key in held if self.records[key].due_s < NEVER]
        for key in held:
            self.records[key] = replace(self.records[key], due_s=until_s)
        return frozenset(one for _, one in held)

    async def purge(self, now_s: float) -> None:
        self.records = {key: it for key, it in self.records.items() if it.expires_s > now_s}

    async def close(self) -> None:
        return

    def _all(self, kind: str, prefix: str) -> list[Record]:
        found = [it for it in self.records.values() if it.kind == kind and it.id.startswith(prefix)]
        return sorted(found, key=lambda it: it.id)
