"""The worker's engine as a contestant: loads run to their end, in the order and at the time they say."""

import pytest
from tiny_engine import TinyEngine

from tierline.bench.protocol import Load, Setup, Stream
from tierline_worker.bench.driver import Driver, environment, make_engine
from tierline_worker.settings import WorkerSettings

PROMPT = tuple(range(1, 9))


@pytest.fixture(scope="module")
def driver(tiny_path) -> Driver:
    return Driver(TinyEngine(tiny_path).engine)


def test_every_stream_gets_all_its_tokens_in_order(driver):
    done = driver.run(Load((Stream(PROMPT, 5), Stream(PROMPT, 3))))
    assert [len(stream.token_s) for stream in done.streams] == [5, 3]
    for stream in done.streams:
        assert list(stream.token_s) == sorted(stream.token_s)
        assert stream.submitted_s < stream.token_s[0]


def test_a_stream_begins_when_the_first_one_has_so_many_tokens(driver):
    first, second = driver.run(Load((Stream(PROMPT, 9), Stream(PROMPT, 2, starts_after_tokens=4)))).streams
    assert first.token_s[3] <= second.submitted_s <= first.token_s[4]


def test_the_stream_that_ends_the_load_ends_the_others(driver):
    done = driver.run(Load((Stream(PROMPT, 100), Stream(PROMPT, 2, starts_after_tokens=1)), ends_with=1))
    assert len(done.streams[0].token_s) < 100
    assert len(done.streams[1].token_s) == 2


def test_what_has_no_slot_waits_its_turn(driver):
    done = driver.run(Load(tuple(Stream((*PROMPT, number), 3) for number in range(20))))
    assert [len(stream.token_s) for stream in done.streams] == [3] * 20


def test_what_can_never_run_is_an_error(driver):
    with pytest.raises(RuntimeError, match="TooLong"):
        driver.run(Load((Stream(PROMPT, 1000),)))


def test_a_setup_becomes_the_settings_of_a_worker(tiny_path):
    setup = Setup(str(tiny_path), "", "Float32", "None", 1, 128, 4, 32, kv_tokens=250, host_tokens=100)
    settings = WorkerSettings.from_env(environment(setup))
    assert (settings.kv_cache_blocks, settings.host_cache_blocks) == (16, 7)
    assert (settings.max_running_requests, settings.max_batched_tokens, settings.max_model_tokens) == (4, 32, 128)
    assert not make_engine(setup).busy
