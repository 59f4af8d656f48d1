"""Workers are looked at once for all requests until one of them changes, falls silent, comes or goes."""

import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from tierline.wire.frames import PROTOCOL_VERSION, Credits, Iteration, Sampling, Signals, Submit, Welcome
from tierline_gateway.workers.discovery import StaticDiscovery, WorkerEndpoint
from tierline_gateway.workers.link import STALE_SECONDS, WorkerLink
from tierline_gateway.workers.pool import LinkPool

WELCOME = Welcome(PROTOCOL_VERSION, "w", "m", 16, 64, 1024, Credits(4, 64))
BUSY = Iteration(1, Signals(running_requests=3, used_blocks=9), Credits(9, 99))


class Fleet:
    """Two workers whose connections are played by the test."""

    def __init__(self) -> None:
        self.discovery = StaticDiscovery([WorkerEndpoint(name, "127.0.0.1", 1) for name in ("a", "b")])
        self.pool = LinkPool(self.discovery, "g")
        self.events = SimpleNamespace(
            link_up=lambda *_: None, link_down=lambda *_: None, iteration=lambda *_: None, nack=lambda *_: None
        )
        self.pool.sync(self.events)  # type: ignore[arg-type]
        for link in self.pool:
            link._transport = SimpleNamespace(write=lambda _: None)  # type: ignore[assignment]
            link._on_frame(WELCOME)

    def link(self, name: str) -> WorkerLink:
        found = self.pool.get(name)
        assert found is not None
        return found

    def hear_for_s(self, silent_s: float) -> None:
        """Let worker a be silent for so long."""
        self.link("a")._session = SimpleNamespace(silent_s=silent_s)  # type: ignore[assignment]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    await made.pool.close()


async def test_without_a_change_nothing_is_looked_at_again(fleet: Fleet) -> None:
    assert fleet.pool.views() is fleet.pool.views()


@pytest.mark.parametrize("happening", ["sent", "heard", "left"])
async def test_a_change_of_one_worker_is_seen(fleet: Fleet, happening: str) -> None:
    link = fleet.link("b")
    link.submit(Submit("old", 1, (1, 2), Sampling(4)))
    before = fleet.pool.views()
    match happening:
        case "sent":
            link.submit(Submit("new", 1, (1, 2), Sampling(4)))
        case "heard":
            link._on_frame(BUSY)
        case "left":
            link.left("old")
    assert [view.name for view in fleet.pool.views()] == ["a", "b"]
    assert fleet.pool.views()[0] is before[0]
    assert fleet.pool.views()[1] == link.view() != before[1]


async def test_a_worker_whose_connection_ends_is_not_seen(fleet: Fleet) -> None:
    assert len(fleet.pool.views()) == 2
    fleet.link("a").lost("ConnectionLost")
    assert [view.name for view in fleet.pool.views()] == ["b"]


async def test_a_worker_that_is_taken_away_is_not_seen(fleet: Fleet) -> None:
    assert fleet.pool.capacity_exists
    fleet.discovery.workers.clear()
    fleet.pool.sync(fleet.events)  # type: ignore[arg-type]
    assert not fleet.pool.views()
    assert (fleet.pool.capacity_exists, fleet.pool.window_tokens) == (False, 0)


async def test_silence_is_seen_though_nobody_tells_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fleet.pool.views()[0].stale
    fleet.hear_for_s(STALE_SECONDS + 1)
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + STALE_SECONDS + 1)
    assert fleet.pool.views()[0].stale


async def test_a_silent_worker_is_looked_at_each_time(fleet: Fleet) -> None:
    fleet.hear_for_s(1e6)
    fleet.pool._forget_seen()
    assert fleet.pool.views()[0].stale
    fleet.hear_for_s(0.0)
    assert not fleet.pool.views()[0].stale
