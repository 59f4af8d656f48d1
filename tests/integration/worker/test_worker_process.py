"""A real worker process on loopback, driven over the wire: streams, cancels, shares, drains, refuses bad models."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tiny_checkpoint import write_tiny_checkpoint
from tiny_gguf import write_tiny_gguf
from worker_process import WorkerProcess, run_worker

from tierline.wire.frames import Cancel, Draining, Iteration, Nack, NackReason, Refusal, Sampling, Submit, Welcome

LONG = Sampling(400, ignore_eos=True)
SHORT = Sampling(12, ignore_eos=True)
PROMPT = tuple(range(40, 70))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerProcess]:
    """One worker for the tests that leave it as they found it."""
    async with run_worker(tmp_path_factory.mktemp("shared"), model) as worker:
        await worker.probe_until("/readyz", 200)
        yield worker


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_stream_over_the_wire_and_its_replay(shared):
    client = await shared.connect()
    welcome = client.frames[0]
    assert isinstance(welcome, Welcome)
    assert (welcome.worker_id, welcome.model, welcome.total_blocks) == ("worker-under-test", "tiny", 128)
    batches = await client.stream(Submit("a", 1, PROMPT, SHORT))
    whole = client.tokens("a")
    assert [batch.first_position for batch in batches] == list(range(12))
    assert batches[-1].finish_reason == "length"
    await client.stream(Submit("b", 2, PROMPT, SHORT, emitted_ids=tuple(whole[:5])))
    assert client.tokens("b") == whole[5:]
    assert client.batches("b")[0].first_position == 5
    await client.close()


async def test_sampled_streams_repeat_by_seed_also_when_replayed(shared):
    client = await shared.connect()
    sampling = Sampling(20, temperature=0.9, top_p=0.95, seed=11, ignore_eos=True)
    await client.stream(Submit("a", 1, PROMPT, sampling))
    await client.stream(Submit("b", 1, PROMPT, sampling, emitted_ids=tuple(client.tokens("a")[:7])))
    assert client.tokens("b") == client.tokens("a")[7:]
    await client.close()


async def test_cancel_frees_blocks_at_once(shared):
    client = await shared.connect()
    client.send(Submit("a", 1, PROMPT, LONG))
    await client.until(lambda frame: isinstance(frame, Iteration) and frame.signals.used_blocks > 0)
    client.send(Cancel("a", 1))
    await client.until(lambda frame: isinstance(frame, Iteration) and frame.signals.used_blocks == 0)
    assert len(client.tokens("a")) < 400
    await client.close()


async def test_full_worker_nacks(shared):
    client = await shared.connect()
    for number in range(9):
        client.send(Submit(f"r{number}", 1, PROMPT, LONG))
    nack = await client.until(lambda frame: isinstance(frame, Nack))
    assert nack == Nack("r8", 1, NackReason.NO_SLOT)
    await client.close()


async def test_two_gateways_share_credit_and_one_that_leaves_frees_everything(shared):
    first, second = await shared.connect("g1"), await shared.connect("g2")
    alone, shared_by_two = (client.frames[0].credits.requests_total for client in (first, second))
    assert 1 <= shared_by_two <= alone <= 8
    first.send(Submit("same", 1, PROMPT, LONG))
    await first.until(lambda frame: isinstance(frame, Iteration) and bool(frame.tokens))
    await second.stream(Submit("same", 1, PROMPT, SHORT))
    assert len(second.tokens("same")) == 12
    await first.close()
    await second.until(lambda frame: isinstance(frame, Iteration) and frame.signals.used_blocks == 0)
    await second.close()


async def test_metrics_and_probes(shared):
    assert (await shared.probe("/livez"))[0] == 200
    assert (await shared.probe("/startupz"))[0] == 200
    status, text = await shared.probe("/metrics")
    assert status == 200
    for name in ("vllm:num_requests_running", "vllm:generation_tokens_total", "vllm:kv_cache_usage_perc"):
        assert f'{name}{{engine="0",model_name="tiny"}}' in text
    assert 'tierline_worker_started_warm{engine="0",model_name="tiny"} 1.0' in text


async def test_sigterm_drains_then_exits_0(model, tmp_path):
    async with run_worker(tmp_path, model) as worker:
        await worker.probe_until("/readyz", 200)
        client = await worker.connect()
        client.send(Submit("a", 1, PROMPT, LONG))
        await client.until(lambda frame: isinstance(frame, Iteration) and bool(frame.tokens))
        worker.terminate()
        draining = await client.until(lambda frame: isinstance(frame, Draining))
        assert draining.deadline_ms == 20_000
        client.send(Submit("late", 1, PROMPT, SHORT))
        refused = await client.until(lambda frame: isinstance(frame, Nack))
        assert refused.reason is NackReason.DRAINING
        assert "draining" in await worker.probe_until("/readyz", 503)
        newcomer = await worker.connect("new")
        assert isinstance(newcomer.frames[0], Refusal)
        await client.closed()
        assert len(client.tokens("a")) == 400
        assert await worker.ended() == 0


async def test_the_drain_deadline_ends_what_is_left(model, tmp_path):
    async with run_worker(tmp_path, model, TIERLINE_DRAIN_SECONDS="0") as worker:
        await worker.probe_until("/readyz", 200)
        client = await worker.connect()
        client.send(Submit("a", 1, PROMPT, LONG))
        await client.until(lambda frame: isinstance(frame, Iteration) and bool(frame.tokens))
        worker.terminate()
        assert await worker.ended() == 0
        assert "the drain deadline passed" in worker.log.read_text()


async def test_sigterm_while_loading_ends_at_once(model, tmp_path):
    async with run_worker(tmp_path, model) as worker:
        await worker.probe_until("/livez", 200)
        worker.terminate()
        assert await worker.ended() == 0


@pytest.mark.parametrize("kind", ["corrupt", "missing", "architecture", "settings"])
async def test_bad_input_ends_with_code_2_and_one_line(tmp_path, kind):
    path, extra = tmp_path / "model.gguf", {}
    if kind == "corrupt":
        path.write_bytes(write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()[:3000])
    elif kind == "architecture":
        write_tiny_gguf(path, architecture="gemma")
    elif kind == "settings":
        extra = {"TIERLINE_BLOCK_TOKENS": "none"}
    last_words = tmp_path / "termination"
    async with run_worker(tmp_path, path, TIERLINE_TERMINATION_LOG=str(last_words), **extra) as worker:
        assert await worker.ended() == 2
        line = last_words.read_text()
        assert "\n" not in line
        assert ("TIERLINE_BLOCK_TOKENS" if kind == "settings" else "model.source") in line
        assert f"tierline-worker: {line}\n" in worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()


async def test_a_taken_port_is_named(model, tmp_path, shared):
    async with run_worker(tmp_path, model, TIERLINE_HTTP_PORT=str(shared.http_port)) as worker:
        assert await worker.ended() == 2
        assert "TIERLINE_HTTP_PORT" in worker.log.read_text()


async def test_the_worker_starts_itself_again_with_passive_threads(model, tmp_path):
    async with run_worker(tmp_path, model, OMP_WAIT_POLICY="") as worker:
        await worker.probe_until("/readyz", 200)
        assert worker.environment()["OMP_WAIT_POLICY"] == "PASSIVE"
