"""The store of one pod's processes: each fleet's counters and notes are its own."""

from pathlib import Path

from tierline_gateway.shared.local_store import LocalStore
from tierline_gateway.shared.socket_store import SocketStore, serve_store
from tierline_gateway.shared.store import Exchange, Note


async def test_fleets_are_kept_apart(tmp_path: Path) -> None:
    server = await serve_store(lambda: LocalStore("life", lambda: 0.0), tmp_path / "state.sock")
    own, guest = SocketStore(tmp_path / "state.sock"), SocketStore(tmp_path / "state.sock", "code")
    try:
        for store, served in ((own, 5.0), (guest, 70.0)):
            await store.exchange(Exchange("gw-0", 1, "", (("acme", served, 0.0),), Note({"acme": (1,)})))
        told = [await store.exchange(Exchange("gw-1", 1, "life", (), Note())) for store in (own, guest)]
        assert [shared.counters for shared in told] == [{"acme": 5.0}, {"acme": 70.0}]
        assert [list(shared.notes) for shared in told] == [["gw-0"], ["gw-0"]]
    finally:
        await own.close()
        await guest.close()
        server.close()
