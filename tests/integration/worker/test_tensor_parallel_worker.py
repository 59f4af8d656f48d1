"""A worker over two ranks: its tokens, its end, and what it says when a rank is lost."""

import asyncio
import os
import select
import signal
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint
from worker_process import READY_SECONDS, WorkerProcess, run_worker

from tierline.wire.frames import Sampling, Submit
from tierline_worker.process import EXIT_BAD_INPUT, EXIT_RANK_LOST

TWO = {"TIERLINE_TENSOR_PARALLEL": "2", "TIERLINE_STALL_SECONDS": "4"}
REQUEST = Submit("r", 1, (9, 8, 7, 6, 5, 4), Sampling(24, ignore_eos=True))
ENDLESS = Submit("r", 1, (9, 8, 7), Sampling(500, ignore_eos=True))
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


def _children(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    numbers = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [number for number in numbers if _parent(number) == pid]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _rank(worker: WorkerProcess) -> int:
    children = _children(worker.process.pid)
    return next(p for p in children if "spawn_main" in Path(f"/proc/{p}/cmdline").read_text())


async def _gone(handle: int) -> None:
    """Wait until the process of a handle has ended, then close the handle."""
    readable, _, _ = await asyncio.to_thread(select.select, [handle], [], [], READY_SECONDS)
    os.close(handle)
    assert readable


async def _tokens(worker: WorkerProcess) -> list[int]:
    await worker.probe_until("/readyz", 200)
    client = await worker.connect()
    await client.stream(REQUEST)
    return client.tokens("r")


async def test_two_ranks_stream_the_tokens_of_one_and_leave_nothing_behind(tmp_path, model):
    async with run_worker(tmp_path, model) as worker:
        alone = await _tokens(worker)
    async with run_worker(tmp_path, model, **TWO) as worker:
        assert await _tokens(worker) == alone
        started = [os.pidfd_open(pid) for pid in _children(worker.process.pid)]
        assert started
        worker.terminate()
        assert await worker.ended() == 0
        for handle in started:
            await _gone(handle)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "rank-1 was ended by SIGKILL"), (signal.SIGSTOP, "another rank does not answer")],
)
async def test_a_lost_rank_ends_the_worker_with_the_reason(tmp_path, model, number, words):
    last_words = tmp_path / "termination"
    async with run_worker(tmp_path, model, TIERLINE_TERMINATION_LOG=str(last_words), **TWO) as worker:
        await worker.probe_until("/readyz", 200)
        rank = _rank(worker)
        handle = os.pidfd_open(rank)
        client = await worker.connect()
        client.send(ENDLESS)
        await client.until(lambda _frame: bool(client.tokens("r")))
        os.kill(rank, number)
        assert await worker.ended() == EXIT_RANK_LOST
        assert words in last_words.read_text()
        # Its user's stream goes on elsewhere, so it must not be told of a failure.
        assert "failed" not in {batch.finish_reason for batch in client.batches("r")}
        await _gone(handle)


async def test_a_worker_that_dies_takes_its_ranks_along(tmp_path, model):
    async with run_worker(tmp_path, model, **TWO) as worker:
        await worker.probe_until("/readyz", 200)
        handle = os.pidfd_open(_rank(worker))
        os.kill(worker.process.pid, signal.SIGKILL)
        await worker.ended()
        await _gone(handle)


async def test_heads_that_do_not_divide_are_named_before_anything_starts(tmp_path, model):
    async with run_worker(tmp_path, model, TIERLINE_TENSOR_PARALLEL="3") as worker:
        assert await worker.ended() == EXIT_BAD_INPUT
        assert "the model's 4 attention heads do not divide" in worker.log.read_text()
