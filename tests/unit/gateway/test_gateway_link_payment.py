"""Credit is paid for what was sent, and for nothing else."""

from types import SimpleNamespace

import pytest

from tierline.wire.frames import PROTOCOL_VERSION, Credits, FrameError, Sampling, Submit, Welcome
from tierline_gateway.workers.discovery import WorkerEndpoint
from tierline_gateway.workers.link import WorkerLink


@pytest.fixture
def link() -> WorkerLink:
    connected = WorkerLink(WorkerEndpoint("w", "127.0.0.1", 1, serving=True), "g", SimpleNamespace())  # type: ignore[arg-type]
    connected.welcome = Welcome(PROTOCOL_VERSION, "w", "m", 16, 64, 1024, Credits(2, 64))
    connected.account.update(connected.welcome.credits)
    connected._transport = SimpleNamespace(write=lambda _: None)  # type: ignore[assignment]
    return connected


def test_a_sent_request_is_paid(link: WorkerLink) -> None:
    link.submit(Submit("r", 1, (1, 2), Sampling(4)))
    assert link.account.requests == 1
    assert link.outstanding == {"r"}


def test_a_request_that_cannot_be_written_costs_nothing(link: WorkerLink) -> None:
    with pytest.raises(FrameError):
        link.submit(Submit("r", 1, (1, 2), Sampling(4, stop_token_ids=(2**70,))))
    assert (link.account.requests, link.account.blocks) == (2, 64)
    assert not link.outstanding
