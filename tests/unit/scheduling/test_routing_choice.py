import pytest
from msgspec.structs import replace

from tierline.scheduling.latency import Coefficients
from tierline.scheduling.routing.choice import Need, WorkerView, choose_worker, first_token_ms, load_score

H100 = Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5)
NEED = Need("r", context_tokens=10, total_tokens=20)

IDLE = WorkerView(
    name="idle",
    accepting=True,
    credit_requests=4,
    credit_blocks=100,
    block_tokens=16,
    max_model_tokens=1000,
    total_blocks=100,
    latency=H100,
)
BIG = replace(IDLE, max_model_tokens=100_000, total_blocks=10_000, credit_blocks=10_000)
LONG = Need("long", context_tokens=4000, total_tokens=4500)


def test_the_least_loaded_is_chosen() -> None:
    busy = replace(IDLE, name="a-busy", reported_requests=3)
    assert choose_worker([busy, IDLE], NEED) == IDLE


def test_what_we_sent_counts_before_it_is_reported() -> None:
    assert load_score(replace(IDLE, outstanding_requests=5, reported_requests=2)) == 5


def test_memory_breaks_ties() -> None:
    fuller = replace(IDLE, name="a-fuller", used_blocks=50)
    assert choose_worker([fuller, IDLE], NEED) == IDLE


def test_another_answer_to_a_prompt_goes_where_that_is_computed_unless_it_may_not() -> None:
    near = replace(IDLE, name="near", reported_requests=3)
    need = replace(NEED, near=frozenset({"near"}))
    assert choose_worker([near, IDLE], need) == near
    assert choose_worker([replace(near, credit_requests=0), IDLE], need) == IDLE
    assert choose_worker([near, IDLE], need, avoid={"near"}) == IDLE


def test_who_may_not_take_it() -> None:
    assert not replace(IDLE, accepting=False).can_take(10, 10)
    assert not replace(IDLE, credit_requests=0).can_take(10, 10)
    assert not replace(IDLE, credit_blocks=1).can_take(16, 16)
    assert replace(IDLE, credit_blocks=1).can_take(15, 15)
    assert not replace(IDLE, max_model_tokens=10).can_take(10, 10)


def test_the_whole_answer_must_fit_in_the_window() -> None:
    assert IDLE.window_tokens == 1000
    assert replace(IDLE, total_blocks=10).window_tokens == 160
    assert IDLE.can_take(10, 1000)
    assert not IDLE.can_take(10, 1001)


def test_avoided_workers_are_the_last_resort() -> None:
    busy = replace(IDLE, name="busy", reported_requests=3)
    assert choose_worker([busy, IDLE], NEED, avoid={"idle"}) == busy
    assert choose_worker([IDLE], NEED, avoid={"idle"}) == IDLE


def test_nobody_can() -> None:
    assert choose_worker([], NEED) is None


def test_the_worker_that_holds_the_prefix_is_chosen() -> None:
    holder = replace(BIG, name="z-holder", reported_requests=4)
    need = replace(LONG, cached_tokens={"z-holder": 3968})
    assert first_token_ms(holder, H100, need) < 10
    assert first_token_ms(BIG, H100, need) > 80
    assert choose_worker([BIG, holder], need) == holder


def test_but_not_when_waiting_for_it_takes_longer() -> None:
    holder = replace(BIG, name="z-holder", backlog_tokens=6000)
    assert choose_worker([BIG, holder], replace(LONG, cached_tokens={"z-holder": 3968})) == BIG


def test_a_prompt_does_not_wait_behind_others_elsewhere() -> None:
    assert choose_worker([replace(BIG, name="a-behind", backlog_tokens=3000), BIG], LONG) == BIG


def test_pace_comes_before_the_first_token() -> None:
    crowded = replace(BIG, name="a-crowded", reported_requests=700)
    need = replace(LONG, tpot_budget_ms=20.0, cached_tokens={"a-crowded": 3968})
    assert choose_worker([BIG, crowded], need) == BIG
    assert choose_worker([crowded], need) == crowded


def test_room_for_the_whole_answer_comes_before_the_first_token() -> None:
    full = replace(BIG, name="a-full", used_blocks=9800)
    need = replace(LONG, expected_tokens=4400.0, cached_tokens={"a-full": 3968})
    assert choose_worker([BIG, full], need) == BIG


def test_stale_signals_are_not_believed() -> None:
    stale = replace(IDLE, name="a-stale", stale=True)
    silent = replace(IDLE, name="b-new", latency=None)
    busy = replace(IDLE, name="c-busy", reported_requests=9, backlog_tokens=500)
    assert choose_worker([stale, silent, busy], NEED) == busy


@pytest.mark.parametrize("count", [2, 3, 7])
def test_when_all_are_stale_the_better_of_two_is_taken(count: int) -> None:
    workers = [replace(IDLE, name=f"w{number}", stale=True, outstanding_requests=number) for number in range(count)]
    chosen = [choose_worker(workers, replace(NEED, request_id=f"r{number}")) for number in range(2000)]
    taken = [sum(worker.name == f"w{number}" for worker in chosen if worker) for number in range(count)]
    # Of all pairs, w0 wins each that it is in, w1 all but one ..., the fullest none.
    pairs = count * (count - 1) / 2
    expected = [2000 * (count - 1 - number) / pairs for number in range(count)]
    assert taken == pytest.approx(expected, rel=0.25, abs=30)
    assert choose_worker(workers, NEED) == choose_worker(workers, NEED)


def test_a_higher_priority_overdraws_the_credit_by_what_yields_to_it() -> None:
    full = replace(IDLE, credit_requests=0, credit_blocks=0, rooms=((0, 1, 4), (2, 0, 0)))
    assert not full.can_take(10, 10)
    assert full.can_take(10, 10, priority=1)
    assert not full.can_take(100, 100, priority=1)
    assert not full.can_take(10, 10, priority=3)
    overdrawn = replace(full, credit_requests=-1, credit_blocks=-1)
    assert not overdrawn.can_take(10, 10, priority=1)


class TestAdapters:
    WARM = replace(IDLE, name="warm", adapters=frozenset({"red"}), resident_adapters=frozenset({"red"}))
    COLD = replace(IDLE, name="cold", adapters=frozenset({"red"}))
    RED = replace(NEED, adapter="red")

    def test_only_workers_that_serve_it_can_take_it(self) -> None:
        assert choose_worker([IDLE, replace(self.COLD, reported_requests=30)], self.RED).name == "cold"
        assert choose_worker([IDLE], self.RED) is None

    def test_where_it_is_resident_comes_first_until_that_worker_holds_two_requests_more(self) -> None:
        assert choose_worker([self.COLD, replace(self.WARM, reported_requests=1)], self.RED).name == "warm"
        assert choose_worker([self.COLD, replace(self.WARM, reported_requests=3)], self.RED).name == "cold"

    def test_workers_that_published_nothing_are_chosen_alike(self) -> None:
        mute = [replace(worker, latency=None) for worker in (self.COLD, self.WARM)]
        assert choose_worker(mute, self.RED).name == "warm"

    def test_the_model_alone_goes_anywhere(self) -> None:
        assert choose_worker([self.COLD, self.WARM], NEED).name == "cold"


def test_among_workers_alike_a_role_gets_the_requests_whose_larger_part_it_was_sized_for():
    model = Coefficients(10.0, 1.0, 0.0, 1.0, 0.0)
    prefill, decode = (replace(IDLE, name=role.lower(), latency=model, role=role) for role in ("Prefill", "Decode"))
    prompt = Need("r", 100, 110, expected_tokens=110.0)
    answer = Need("r", 10, 200, expected_tokens=200.0)
    for workers in ((prefill, decode), (decode, prefill)):
        assert choose_worker(workers, prompt) == prefill
        assert choose_worker(workers, answer) == decode
    busy = replace(prefill, backlog_tokens=1000)
    assert choose_worker((busy, decode), prompt) == decode, "nobody waits for a role"
    unified = replace(IDLE, name="a", latency=model)
    assert choose_worker((decode, unified), prompt) == unified
