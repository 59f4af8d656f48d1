"""The view of a worker that is kept says what one made anew would say, whatever happened since."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tierline.wire.frames import (
    PROTOCOL_VERSION,
    AdapterState,
    Credits,
    Draining,
    Iteration,
    Sampling,
    Signals,
    Submit,
    Welcome,
)
from tierline_gateway.workers.discovery import WorkerEndpoint
from tierline_gateway.workers.link import WorkerLink

Happening = Callable[[WorkerLink], None]
ENDPOINT = WorkerEndpoint("w", "127.0.0.1", 1)
SIGNALS = Signals(running_requests=3, used_blocks=9, backlog_tokens=70, latency_coefficients=(1.0, 2.0, 0.0, 0.1, 0.0))
ITERATION = Iteration(1, SIGNALS, Credits(9, 99), adapters=(AdapterState("poems", resident=True),))
HAPPENINGS: dict[str, Happening] = {
    "a request is sent": lambda link: link.submit(Submit("new", 1, (1, 2), Sampling(4))),
    "a request has left": lambda link: link.left("old"),
    "a request is cancelled": lambda link: link.cancel("old", 1),
    "an iteration comes": lambda link: link._on_frame(ITERATION),
    "an adapter is refused": lambda link: link.lacks("code"),
    "credit is handed back": lambda link: link.hold(holding=True, repeat=False),
    "discovery has a deadline": lambda link: link.adopt(replace(ENDPOINT, evacuate_by_epoch_ms=5)),
    "the pod is not ready": lambda link: link.adopt(replace(ENDPOINT, serving=False)),
}


@pytest.fixture
def link() -> WorkerLink:
    events = SimpleNamespace(iteration=lambda *_: None, link_down=lambda *_: None)
    connected = WorkerLink(ENDPOINT, "g", events)  # type: ignore[arg-type]
    connected._transport = SimpleNamespace(write=lambda _: None)  # type: ignore[assignment]
    connected.welcome = Welcome(PROTOCOL_VERSION, "w", "m", 16, 64, 1024, Credits(4, 64))
    connected.account.update(connected.welcome.credits)
    connected._serves((AdapterState("code"),))
    connected.submit(Submit("old", 1, (1, 2, 3), Sampling(4)))
    return connected


@pytest.mark.parametrize("happening", HAPPENINGS)
def test_whatever_happens_is_seen(link: WorkerLink, happening: str) -> None:
    before = link.view()
    HAPPENINGS[happening](link)
    assert link.welcome is not None
    assert link.view() == link._seen(link.welcome, stale=False) != before


async def test_a_worker_that_drains_accepts_nothing(link: WorkerLink) -> None:
    assert link.view() is not None
    link._on_frame(Draining(1000))
    view = link.view()
    assert view is not None
    assert not view.accepting


def test_silence_makes_it_stale_and_a_word_does_not(link: WorkerLink) -> None:
    silence = SimpleNamespace(silent_s=0.0)
    link._session = silence  # type: ignore[assignment]
    for silent_s, stale in ((0.0, False), (60.0, True), (0.0, False)):
        silence.silent_s = silent_s
        view = link.view()
        assert view is not None
        assert view.stale is stale


def test_while_nothing_happens_it_is_the_same(link: WorkerLink) -> None:
    assert link.view() is link.view()


def test_without_a_connection_there_is_none(link: WorkerLink) -> None:
    assert link.view() is not None
    link.lost("Gone")
    assert link.view() is None
