from dataclasses import replace

from tierline.scheduling.routing import WorkerView, choose_worker, load_score

IDLE = WorkerView(
    name="idle",
    accepting=True,
    credit_requests=4,
    credit_blocks=100,
    block_tokens=16,
    max_model_tokens=1000,
    total_blocks=100,
)


def test_the_least_loaded_is_chosen() -> None:
    busy = replace(IDLE, name="a-busy", reported_requests=3)
    assert choose_worker([busy, IDLE], 10, 20) == IDLE


def test_what_we_sent_counts_before_it_is_reported() -> None:
    assert load_score(replace(IDLE, outstanding_requests=5, reported_requests=2)) == 5


def test_memory_breaks_ties() -> None:
    fuller = replace(IDLE, name="a-fuller", used_blocks=50)
    assert choose_worker([fuller, IDLE], 10, 20) == IDLE


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
    assert choose_worker([busy, IDLE], 10, 20, avoid={"idle"}) == busy
    assert choose_worker([IDLE], 10, 20, avoid={"idle"}) == IDLE


def test_nobody_can() -> None:
    assert choose_worker([], 10, 20) is None
