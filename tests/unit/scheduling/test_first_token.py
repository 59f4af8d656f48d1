import pytest

from tierline.scheduling.admission.first_token import FirstTokenTime, alone_ms, patience_ms
from tierline.scheduling.latency import Coefficients, published
from tierline.scheduling.routing.choice import WorkerView, fastest_alone_ms

H100 = Coefficients(7.0, 0.02, 1e-6, 0.02, 5e-5)


def test_before_anything_was_seen_the_latency_model_speaks() -> None:
    assert alone_ms(H100, 1000) == pytest.approx(7.0 + 20.0 + 0.5 + 0.05)
    assert FirstTokenTime().predict_ms(1000, 27.5) == 27.5


def test_it_follows_what_requests_took() -> None:
    times = FirstTokenTime()
    for prompt_tokens in (100, 500, 1000, 2000) * 10:
        times.learn(prompt_tokens, 30 + 0.1 * prompt_tokens)
    assert times.predict_ms(1500, 20.0) == pytest.approx(180, rel=0.01)


def test_noise_makes_it_careful() -> None:
    times = FirstTokenTime()
    for number in range(200):
        times.learn(1000, 100 + (40 if number % 2 else -40))
    assert 150 < times.predict_ms(1000, 20.0) < 200


def test_it_forgets_a_time_of_overload() -> None:
    times = FirstTokenTime()
    for elapsed_ms in (2000.0,) * 100 + (50.0,) * 300:
        times.learn(500, elapsed_ms)
    assert times.predict_ms(500, 20.0) < 120


def test_requests_of_one_length_teach_that_length() -> None:
    times = FirstTokenTime()
    for _ in range(50):
        times.learn(512, 80.0)
    assert times.predict_ms(512, 20.0) == pytest.approx(80, rel=0.01)


@pytest.mark.parametrize(
    ("deadline", "longest", "room", "alone", "patience"),
    [
        (1000, 10_000, 700, 50, 700),  # what the first token leaves of the deadline
        (1000, 500, 700, 50, 500),  # never above what the tier allows
        (1000, 10_000, -200, 50, 0),  # only an empty queue is short enough
        (1000, 10_000, -1500, 1500, 10_000),  # nobody could be in time: served late rather than never
    ],
)
def test_patience(deadline: float, longest: float, room: float, alone: float, patience: float) -> None:
    assert patience_ms(deadline, longest, room, alone) == patience


def worker(name: str, accepting: bool, latency: Coefficients | None) -> WorkerView:
    return WorkerView(name, accepting, 1, 1, 16, 8192, 100, latency=latency)


def test_the_fastest_accepting_worker_tells_what_is_possible() -> None:
    slow = H100._replace(iteration_ms=100.0)
    views = [worker("slow", True, slow), worker("gone", False, H100), worker("new", True, None)]
    assert fastest_alone_ms(views, 0) == 100.0
    assert fastest_alone_ms([worker("new", True, None)], 0) == 0.0


@pytest.mark.parametrize("values", [(), (1.0, 2.0), (1.0,) * 9, (1.0, float("nan"), 1.0, 1.0, 1.0)])
def test_a_worker_that_tells_nonsense_tells_nothing(values: tuple[float, ...]) -> None:
    assert published(values) is None
    assert published(tuple(H100)) == H100
