"""Models on a node: fetched once, whole, within a bound, and never taken from who uses them."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierline.artifacts.cache_record import read_record
from tierline.artifacts.eviction import CacheEntry, to_evict
from tierline.artifacts.weights_store import Fetching, WeightsStore

MEGABYTE = b"x" * 1_000_000


def fetching(name: str, fetched: list[str], content: bytes = MEGABYTE, changes: bool = False) -> Fetching:
    def fetch(home: Path) -> Path:
        fetched.append(name)
        home.mkdir(parents=True, exist_ok=True)
        (home / "weights").write_bytes(content)
        return home / "weights"

    return Fetching(f"pypi://{name}", f"models/{name}", lambda home: None if changes else home / "weights", fetch)


def test_the_first_worker_fetches_and_the_next_one_starts_warm(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()
    first, second = (store.open(fetching("a", fetched)) for _ in range(2))
    assert (first.warm, second.warm, fetched) == (False, True, ["a"])
    assert first.path == second.path
    assert store.cached() == {"pypi://a": len(MEGABYTE)}


def test_a_fetch_that_did_not_end_is_no_entry_and_is_made_again(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()

    def dies(home: Path) -> Path:
        home.mkdir(parents=True)
        (home / "weights").write_bytes(b"half")
        raise OSError("the node went away")

    with pytest.raises(OSError, match="went away"):
        store.open(Fetching("pypi://a", "models/a", lambda home: home / "weights", dies))
    assert store.cached() == {}
    assert not store.open(fetching("a", fetched)).warm
    assert fetched == ["a"]


@pytest.mark.parametrize("damage", [b"x" * 999_999, b"y" + MEGABYTE[1:]])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()
    path = store.open(fetching("a", fetched)).path
    path.write_bytes(damage)
    again = store.open(fetching("a", fetched))
    assert (again.warm, fetched) == (False, ["a", "a"])
    assert again.path.read_bytes() == MEGABYTE


def test_a_file_that_was_only_touched_is_read_and_trusted_again(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()
    os.utime(store.open(fetching("a", fetched)).path, ns=(1, 1))
    assert store.open(fetching("a", fetched)).warm
    assert fetched == ["a"]
    record = read_record(tmp_path / "index" / "models--a.json")
    assert record is not None
    assert record.files[0].mtime_ns == 1


def test_a_source_that_may_change_is_asked_each_time_and_stays_warm_while_it_does_not(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()
    store.open(fetching("a", fetched, changes=True))
    (tmp_path / "models/a/weights").write_bytes(MEGABYTE)
    assert not store.open(fetching("a", fetched, b"newer", changes=True)).warm
    assert fetched == ["a", "a"]
    assert store.cached() == {"pypi://a": 5}


def test_beyond_the_limit_the_longest_unused_goes_but_nothing_in_use(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path, limit_bytes=2_500_000), list[str]()
    used = store.open(fetching("a", fetched))
    for name in ("b", "c", "d"):
        store.open(fetching(name, fetched)).close()
    assert set(store.cached()) == {"pypi://a", "pypi://d"}
    assert used.path.exists()
    assert not (tmp_path / "models/b").exists()
    assert [path.name for path in sorted((tmp_path / "index").iterdir()) if "--b" in path.name] == []
    used.close()
    store.open(fetching("e", fetched)).close()
    assert set(store.cached()) == {"pypi://d", "pypi://e"}


def test_what_a_dead_fetch_left_counts_and_goes_first(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path, limit_bytes=1_500_000), list[str]()

    def dies(home: Path) -> Path:
        home.mkdir(parents=True)
        (home / "part").write_bytes(MEGABYTE)
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        store.open(Fetching("pypi://a", "models/a", lambda home: home, dies))
    store.open(fetching("b", fetched)).close()
    assert set(store.cached()) == {"pypi://b"}
    assert not (tmp_path / "models/a").exists()


def test_one_entry_may_be_written_in_several_ways(tmp_path: Path) -> None:
    store, fetched = WeightsStore(tmp_path), list[str]()
    store.open(fetching("a", fetched))
    other = fetching("a", fetched)
    assert store.open(Fetching("pypi://a?version=1", other.home, other.find, other.fetch)).warm
    assert set(store.cached()) == {"pypi://a", "pypi://a?version=1"}


def _open_slowly(root: str, marks: str, barrier) -> None:
    def fetch(home: Path) -> Path:
        home.mkdir(parents=True, exist_ok=True)
        with Path(marks).open("a") as handle:
            handle.write("fetched\n")
        (home / "weights").write_bytes(MEGABYTE)
        return home / "weights"

    barrier.wait()
    opened = WeightsStore(Path(root)).open(Fetching("pypi://a", "models/a", lambda home: home / "weights", fetch))
    assert opened.path.read_bytes() == MEGABYTE


def test_workers_that_start_at_once_fetch_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [
        context.Process(target=_open_slowly, args=(str(tmp_path), str(tmp_path / "marks"), barrier)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "marks").read_text() == "fetched\n"


def test_a_worker_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tierline.artifacts.locking import hold\n"
        "held = hold(Path(sys.argv[1]), shared=True)\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    store, fetched = WeightsStore(tmp_path, limit_bytes=1_500_000), list[str]()
    store.open(fetching("a", fetched)).close()
    user = tmp_path / "index" / "models--a.users"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(user)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        store.open(fetching("b", fetched)).close()
        assert set(store.cached()) == {"pypi://a", "pypi://b"}
        holder.kill()
        holder.wait()
    store.open(fetching("b", fetched)).close()
    assert set(store.cached()) == {"pypi://b"}


ENTRIES = st.lists(
    st.builds(CacheEntry, st.uuids().map(str), st.integers(0, 50), st.integers(0, 9), st.booleans()), max_size=12
)


@given(ENTRIES, st.integers(0, 200))
def test_eviction_keeps_what_is_used_and_gives_up_no_more_than_it_must(entries: list[CacheEntry], limit: int) -> None:
    going = to_evict(entries, limit)
    assert not any(it.in_use for it in going)
    left = sum(it.bytes for it in entries) - sum(it.bytes for it in going)
    if limit:
        assert left <= limit or all(it.in_use for it in entries if it not in going and it.bytes)
        assert not going or left + going[-1].bytes > limit
        kept = [it for it in entries if not it.in_use and it.bytes and it not in going]
        assert not (going and kept) or max(it.opened_ns for it in going) <= min(it.opened_ns for it in kept)
    else:
        assert going == ()
