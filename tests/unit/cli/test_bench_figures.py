"""Figures of a benchmark from the times of tokens, and the cases' loads."""

import itertools

import pytest

from tierline.bench.protocol import Done, Load, Setup, Stream, StreamTimes
from tierline_cli.bench.cases import CASES, Case, Draw
from tierline_cli.bench.figures import idle_gap_ms, prefill, tail_beside_a_long_prompt, throughput
from tierline_cli.bench.run import Outcome

DRAW = Draw("case", 0, range(1000, 2000), 1.0)


def steady(submitted_s: float, first_s: float, gap_s: float, count: int) -> StreamTimes:
    return StreamTimes(submitted_s, tuple(first_s + gap_s * number for number in range(count)))


def test_throughput_is_over_the_whole_load():
    load = Load((Stream((1,) * 10, 5), Stream((1,) * 10, 5)))
    figures = throughput(load, Done((steady(0.0, 1.0, 0.5, 5), steady(0.0, 2.0, 0.5, 5)), {"copied_blocks": 3}))
    assert figures["output_tokens_per_second"] == pytest.approx(10 / 4)
    assert (figures["ttft_ms"], figures["tpot_ms"], figures["copied_blocks"]) == (1500, 500, 3)


def test_prefill_counts_prompt_tokens_until_the_last_first_token():
    load = Load((Stream((1,) * 30, 1), Stream((1,) * 30, 1)))
    assert prefill(load, Done((steady(0, 1, 0, 1), steady(0, 4, 0, 1))))["prompt_tokens_per_second"] == 15


def test_the_tail_counts_gaps_only_while_the_long_prompt_is_computed():
    before = (1.0, 2.0, 3.0)
    during = (*(3.0 + 0.1 * number for number in range(1, 100)), 14.0)
    after = (30.0, 60.0)
    load = Load((Stream((1,), 200, tpot_budget_ms=50.0), Stream((1,) * 7000, 2, starts_after_tokens=3)), ends_with=1)
    figures = tail_beside_a_long_prompt(
        load, Done((StreamTimes(0.0, before + during + after), steady(3.0, 14.0, 1, 2)))
    )
    assert figures["tpot_p50_ms"] == pytest.approx(100)
    assert figures["tpot_p99_ms"] == pytest.approx(100)
    assert figures["tpot_max_ms"] == pytest.approx(1100)
    assert figures["tpot_p99_over_target"] == pytest.approx(2)
    assert figures["long_ttft_ms"] == 11_000


def test_a_stall_over_the_whole_prefill_counts():
    load = Load((Stream((1,), 200, tpot_budget_ms=50.0), Stream((1,) * 7000, 2, starts_after_tokens=1)), ends_with=1)
    figures = tail_beside_a_long_prompt(load, Done((StreamTimes(0.0, (1.0, 9.0)), steady(2.0, 8.0, 1, 2))))
    assert figures["tpot_p50_ms"] == 8000


def test_the_idle_gap_begins_when_all_run():
    slow_start = StreamTimes(0.0, (1.0, 9.0, 9.1, 9.2))
    assert idle_gap_ms(Done((slow_start, steady(0.0, 9.0, 0.1, 4)))) == pytest.approx(100)


def test_the_idle_gap_is_that_of_the_longest_contexts():
    slower = tuple(itertools.accumulate(range(1, 1001)))
    assert idle_gap_ms(Done((StreamTimes(0.0, slower),))) == pytest.approx(1e3 * (1000 - 31.5), rel=1e-3)


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_loads_are_alike_for_all_contestants_and_new_in_each_repetition(case: Case):
    assert case.load(DRAW) == case.load(DRAW)
    assert case.load(DRAW) != case.load(Draw("case", 1, DRAW.vocabulary, 1.0))
    ids = {token for stream in case.load(DRAW).streams for token in stream.prompt_ids}
    assert min(ids) >= 1000
    assert max(ids) < 2000


@pytest.mark.parametrize(
    ("name", "streams", "prompt_tokens", "new_tokens"),
    [("single", 1, 128, 128), ("batch32", 32, 256, 128), ("prefill", 4, 1500, 1), ("adapters16", 16, 64, 64)],
)
def test_loads_have_the_sizes_that_their_names_promise(name, streams, prompt_tokens, new_tokens):
    load = CASES[name].load(DRAW)
    assert len(load.streams) == streams
    assert {(len(stream.prompt_ids), stream.new_tokens) for stream in load.streams} == {(prompt_tokens, new_tokens)}


def test_the_mixed_case_ends_with_its_7k_prompt_which_shares_nothing_with_the_others():
    load = CASES["mixed"].load(DRAW)
    long = load.streams[load.ends_with]
    assert len(long.prompt_ids) == 7000
    assert long.starts_after_tokens == 32
    assert long.prompt_ids[:16] != load.streams[0].prompt_ids[:16]


def test_shared_prefixes_are_shared_and_tails_are_not():
    prompts = [stream.prompt_ids for stream in CASES["shared_prefix"].load(DRAW).streams]
    assert len({prompt[:1024] for prompt in prompts}) == 1
    assert len({prompt[1024:] for prompt in prompts}) == len(prompts) == 16


def test_kv_pressure_has_half_of_the_kv_that_its_streams_need():
    case = CASES["kv_pressure"]
    streams = case.load(DRAW).streams
    assert case.setup["kv_tokens"] * 2 == sum(len(stream.prompt_ids) + stream.new_tokens for stream in streams)


def test_the_window_is_no_longer_than_the_kv_cache():
    common = Setup("m", "", "Float32", "None", 1, 8192, 64, 512, 24_576)
    assert CASES["single"].setup_from(common, 1.0).max_model_tokens == 8192
    pressed = CASES["kv_pressure"].setup_from(common, 0.5)
    assert (pressed.kv_tokens, pressed.max_model_tokens) == (2048, 2048)


def test_ratios_above_one_say_that_ours_is_better_whatever_the_figure():
    faster = {"tierline": [{"tpot_p99_ms": 10.0}] * 2, "peer": [{"tpot_p99_ms": 20.0}, {"tpot_p99_ms": 40.0}]}
    assert Outcome(CASES["mixed"], faster, {}, {}).document()["ratio"] == {"peer": 3.0}
    more = {"tierline": [{"output_tokens_per_second": 30.0}], "peer": [{"output_tokens_per_second": 20.0}]}
    document = Outcome(CASES["single"], more, {"other": "it broke"}, {}).document()
    assert document["ratio"] == {"peer": 1.5}
    assert document["peers"]["other"] == {"failed": "it broke"}
