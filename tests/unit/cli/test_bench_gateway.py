"""`tierline bench gateway`: what its client counts, however bytes are cut; and a whole run in miniature."""

import asyncio
import itertools
import json
import os
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tierline.artifacts import default_cache_dir
from tierline_cli.bench.gateway import command
from tierline_cli.bench.gateway.command import GatewayBenchOptions, run_gateway_bench
from tierline_cli.bench.gateway.experiments import OTHER_EVENTS, Sizes
from tierline_cli.bench.gateway.http_client import ClientConnection, Exchange
from tierline_cli.bench.gateway.mock_answers import TOKEN_ID, TOKEN_TEXT, stream_event, whole_body
from tierline_cli.errors import CommandFailed


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOKENS = b"".join(chunk(stream_event(TOKEN_TEXT, None)) for _ in range(4))
STREAM = SSE_HEAD + chunk(stream_event("", None)) + TOKENS + chunk(stream_event(None, "length"))
DONE = chunk(b"data: [DONE]\n\n")
END = b"0\r\n\r\n"


class Wire(asyncio.Transport):
    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def received(answer: bytes, cuts: list[int]) -> Exchange:
    """What a client makes of an answer that comes cut at these places."""

    async def exchange() -> Exchange:
        client, told = ClientConnection(), Exchange(0.0)
        client.connection_made(Wire())
        asked = asyncio.create_task(client.ask(b"", told))
        await asyncio.sleep(0)
        places = [0, *sorted(cuts), len(answer)]
        for begin, end in itertools.pairwise(places):
            client.data_received(answer[begin:end])
        if not asked.done() and not told.ended_s:
            client.connection_lost(None)
        await asked
        return told

    return asyncio.run(exchange())


@given(st.lists(st.integers(0, len(STREAM + DONE + END)), max_size=8))
def test_every_event_counts_once_wherever_the_bytes_are_cut(cuts):
    told = received(STREAM + DONE + END, cuts)
    assert (told.ok, told.events - OTHER_EVENTS) == (True, 4)


def test_a_stream_without_its_end_is_dropped():
    assert "without [DONE]" in received(STREAM + END, []).problem
    assert "lost" in received(STREAM, []).problem


@pytest.mark.parametrize("cut", [10, 40, 200])
def test_a_whole_answer_ends_at_its_length(cut):
    body = whole_body(3)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert received(head + body, [cut]).ok


def test_a_refusal_is_told_by_its_status():
    assert received(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", []).problem.endswith(
        "429 Too Many Requests"
    )


def word_tokenizer(path: Path) -> Path:
    """A tokenizer of a few hundred words, which loads in no time."""
    vocabulary = {f"w{number}": number for number in range(2 * TOKEN_ID)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w0"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    (path / "config.json").write_text("{}")
    backend.save(str(path / "tokenizer.json"))
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template, "eos_token": "w1"}))
    return path


def options(path: Path, **fields) -> GatewayBenchOptions:
    return GatewayBenchOptions(
        json_file=path / "gateway.json",
        model=str(word_tokenizer(path)),
        sources=path,
        cache_dir=default_cache_dir(os.environ).absolute(),
        **fields,
    )


SMALLEST = Sizes(
    requests_per_second=40,
    seconds=0.5,
    repeats=1,
    warm_up_seconds=0.2,
    streams=10,
    stream_tokens=3,
    stream_period_ms=100,
    busy_streams=4,
    busy_tokens=50,
)


def test_a_run_in_miniature_writes_every_figure(tmp_path):
    asked = options(tmp_path, sizes=SMALLEST)
    assert run_gateway_bench(asked, Console(quiet=True)) == 0
    written = json.loads(asked.json_file.read_text())
    assert written["added_latency_ms"].keys() == {"p50", "p99", "streamed", "first_token"}
    assert written["cpu_ms_per_request"].keys() == {"whole", "streamed"}
    assert (written["streams"]["concurrent"], written["streams"]["dropped"]) == (10, 0)
    assert written["saturation"]["token_events_per_core_second"] > 0
    assert "bytes_per_stream" in written


def test_what_was_measured_is_kept_when_a_later_experiment_fails(tmp_path, monkeypatch):
    def kept(*_):
        return {"tierline": {"bytes_per_stream": 7}, "smg": {"bytes_per_stream": 8}}

    def cut_off(*_):
        raise CommandFailed("cut off")

    monkeypatch.setattr(command, "EXPERIMENTS", {"streams": kept, "saturation": cut_off})
    asked = options(tmp_path, only=("saturation", "streams"))
    with pytest.raises(CommandFailed, match="cut off"):
        run_gateway_bench(asked, Console(quiet=True))
    written = json.loads(asked.json_file.read_text())
    assert (written["bytes_per_stream"], written["peers"]) == (7, {"smg": {"bytes_per_stream": 8}})


def test_only_what_is_named_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "EXPERIMENTS", {"rate": None, "streams": lambda *_: {"tierline": {"streams": SOME}}})
    asked = options(tmp_path, only=("streams",))
    assert run_gateway_bench(asked, Console(quiet=True)) == 1
    assert json.loads(asked.json_file.read_text())["streams"] == SOME


SOME = {"concurrent": 3, "dropped": 1}


def test_an_unknown_experiment_is_named(tmp_path):
    with pytest.raises(CommandFailed, match="--only 'speed' is not known: use one of rate, streams, saturation"):
        run_gateway_bench(options(tmp_path, only=("rate", "speed")), Console(quiet=True))


def test_an_unknown_peer_is_named(tmp_path):
    with pytest.raises(CommandFailed, match="--peer 'nginx' is not known"):
        run_gateway_bench(options(tmp_path, peers=("nginx",)), Console(quiet=True))
