"""One contract for all stores of records: SQLite shared by processes of a pod, a real Redis shared by pods."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from later_rig import opened
from memory_records import MemoryRecords
from redis_testing import RedisServer

from tierline_gateway.deferred.redis_store import RedisRecords
from tierline_gateway.deferred.sqlite_store import SQLiteStore
from tierline_gateway.deferred.store import NEVER, Record, RecordStore, StoreUnavailable, Usage


@pytest.fixture(params=["sqlite", "redis", "memory"])
async def pair(request, tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[tuple[RecordStore, RecordStore]]:
    """The store as two processes see it."""
    made: list[RecordStore]
    if request.param == "sqlite":
        made = [SQLiteStore(tmp_path), SQLiteStore(tmp_path)]
    elif request.param == "redis":
        made = [RedisRecords(redis_server.url, f"demo/{tmp_path.name}") for _ in range(2)]
    else:
        made = [MemoryRecords()] * 2
    yield made[0], made[1]
    for store in made:
        await store.close()


def record(record_id: str = "a", **changes: object) -> Record:
    fields = {"kind": "ticket", "id": record_id, "tenant": "acme", "document": b"{}"} | changes
    return Record(**fields)  # type: ignore[arg-type]


async def test_what_one_puts_the_other_gets(pair) -> None:
    first, second = pair
    kept = record(document=b"\x00\xff{}", blob=b"\x00\r\n\xfe", expires_s=1234.5678, due_s=77.25)
    await first.put(kept)
    assert await second.get("ticket", "a") == kept
    assert await second.get("ticket", "b") is None
    assert await second.get("file", "a") is None
    await second.put(record(blob=b"other"))
    assert await first.get("ticket", "a") == record(blob=b"other")


async def test_only_the_first_adds(pair) -> None:
    first, second = pair
    results = await asyncio.gather(*(store.add(record(document=b"%d" % at)) for at, store in enumerate(pair * 4)))
    assert sum(results) == 1
    assert (await first.get("ticket", "a")).document == b"%d" % results.index(True)
    assert not await second.add(record())


async def test_a_document_is_replaced_only_by_who_knows_it(pair) -> None:
    first, second = pair
    await first.put(record(document=b"1", blob=b"body"), "g0")
    assert not await second.replace(record(document=b"2"), b"0")
    assert await second.replace(record(document=b"two", expires_s=9.0, due_s=5.0), b"1")
    assert await first.get("ticket", "a") == record(document=b"two", blob=b"body", expires_s=9.0, due_s=5.0)
    assert await first.usage() == Usage(1, 7)
    assert not await first.replace(record("lost"), b"{}")
    assert await second.renew("ticket", "g0", ["a"], 6.0) == {"a"}, "who held it still does"


async def test_records_are_found_and_read_by_their_ids(pair) -> None:
    first, second = pair
    for name in ("b/2", "b/1", "a/1", "c/1", "b/3"):
        await first.put(record(name, blob=name.encode(), tenant="zeta" if name == "b/1" else "acme"))
    assert [it.id for it in await second.find("ticket", "b/")] == ["b/1", "b/2", "b/3"]
    assert {it.blob for it in await second.find("ticket")} == {b""}
    assert [it.id for it in await second.find("ticket", tenant="acme")] == ["a/1", "b/2", "b/3", "c/1"]
    assert [it.blob for it in await second.read("ticket", "b/", "", 2)] == [b"b/1", b"b/2"]
    assert [it.id for it in await second.read("ticket", "b/", "b/2", 2)] == ["b/3"]
    assert await second.read("ticket", "b/", "b/3", 2) == []
    await second.delete("ticket", "b/")
    assert [it.id for it in await first.find("ticket")] == ["a/1", "c/1"]


async def test_usage_is_by_tenant_and_kind_and_exact_over_changes(pair) -> None:
    first, second = pair
    await first.put(record("a", document=b"12", blob=b"345"))
    await first.put(record("a", document=b"1", blob=b"2"))
    await first.put(record("b", tenant="zeta", document=b"1234"))
    await first.add(record("c", kind="file", document=b"12345"))
    await first.add(record("c", kind="file", document=b"1"))
    assert await second.usage("acme", "ticket") == Usage(1, 2)
    assert await second.usage("acme") == Usage(2, 7)
    assert await second.usage() == Usage(3, 11)
    await second.delete("ticket", "")
    assert await first.usage() == Usage(1, 5)
    await second.delete("file", "c")
    assert await first.usage() == Usage(0, 0)


async def test_work_is_held_by_one_until_its_time_passes(pair) -> None:
    first, second = pair
    await first.put(record("mine", due_s=20.0), "g0")
    await first.put(record("free", due_s=5.0))
    await first.put(record("done", due_s=NEVER))
    assert [it.id for it in await second.take("ticket", "g1", 10.0, 30.0, 10)] == ["free"]
    assert await first.take("ticket", "g0", 10.0, 30.0, 10) == []
    assert await first.renew("ticket", "g0", ["mine", "free", "done", "lost"], 40.0) == {"mine"}
    (taken,) = await first.take("ticket", "g0", 31.0, 50.0, 10)
    assert (taken.id, taken.due_s) == ("free", 50.0)
    assert await second.renew("ticket", "g1", ["free"], 60.0) == frozenset(), "it was taken over"


async def test_each_piece_of_work_is_taken_once(pair) -> None:
    for at in range(20):
        await pair[0].put(record(f"{at:02d}", due_s=1.0))
    shares = await asyncio.gather(*(pair[at % 2].take("ticket", f"g{at}", 2.0, 9.0, 3) for at in range(10)))
    assert sorted(it.id for share in shares for it in share) == [f"{at:02d}" for at in range(20)]
    assert max(map(len, shares)) == 3


async def test_work_that_ended_is_nobodys(pair) -> None:
    first, second = pair
    await first.put(record(due_s=5.0), "g0")
    assert await first.replace(record(document=b"over"), b"{}")
    assert await first.renew("ticket", "g0", ["a"], 9.0) == frozenset()
    assert await second.take("ticket", "g1", 99.0, 100.0, 10) == []


async def test_what_expired_goes(pair) -> None:
    first, second = pair
    await first.put(record("a", expires_s=10.0, due_s=1.0))
    await first.put(record("b", expires_s=11.0))
    await first.put(record("c"))
    await second.purge(10.5)
    assert [it.id for it in await first.find("ticket")] == ["b", "c"]
    assert (await first.usage()).records == 2
    assert await first.take("ticket", "g", 99.0, 100.0, 10) == []


async def test_pages_of_any_size_are_complete(pair, monkeypatch) -> None:
    monkeypatch.setattr("tierline_gateway.deferred.redis_store._PAGE", 3)
    for at in range(9):
        await pair[0].put(record(f"{at}", expires_s=5.0))
    assert len(await pair[1].find("ticket")) == 9
    await pair[1].purge(6.0)
    assert await pair[1].usage() == Usage(0, 0)
    for at in range(9):
        await pair[0].put(record(f"{at}"))
    await pair[1].delete("ticket", "")
    assert await pair[0].find("ticket") == []


async def test_a_store_that_is_gone_says_so_and_clients_are_told_to_come_back() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = RedisRecords(f"redis://127.0.0.1:{port}/0", "demo/fleet")
    with pytest.raises(StoreUnavailable, match="store of answers"):
        await store.get("ticket", "a")
    rig = await opened(store)
    try:
        status, headers, _ = await rig.see("/v1/batches")
        assert (status, headers["x-tierline-reason"], headers["Retry-After"]) == (503, "NoStore", "5")
    finally:
        await rig.close()


def test_a_directory_that_cannot_hold_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="it must be a directory"):
        SQLiteStore(tmp_path / "file")
