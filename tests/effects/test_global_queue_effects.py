"""QLM's claims, as far as this queue makes them: waits are predictable, and model-aware order beats deadlines alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from tierline.scheduling.queueing.group_order import Instance, RequestGroup, group_order, next_group
from tierline.scheduling.queueing.waiting_time import Moments, Throughput, predicted_wait_ms

SLOTS, TOKEN_MS = 32, 20.0
MEDIANS = {"short": 60.0, "long": 300.0}
SWAP_MS = 10_000.0


def predictions_and_waits(arrivals: int = 3000) -> tuple[list[float], list[float]]:
    """Serve answers of unknown length on a full worker, first come; return each predicted and real wait."""
    rng = np.random.default_rng(11)
    moments, throughput = {kind: Moments() for kind in MEDIANS}, Throughput()
    kinds = rng.choice(list(MEDIANS), size=arrivals).tolist()
    lengths = [float(np.clip(rng.lognormal(np.log(MEDIANS[kind]), 0.7), 1, 2000)) for kind in kinds]
    arrived_ms = np.cumsum(rng.exponential(100.0, size=arrivals)).tolist()
    ends_ms: list[tuple[float, int]] = []
    waiting, predicted, real = [], {}, {}
    clock_ms, coming = 0.0, 0
    while len(real) < arrivals:
        ending = min(ends_ms, default=(np.inf, -1))
        clock_ms = min(ending[0], arrived_ms[coming] if coming < arrivals else np.inf)
        if ending[0] <= clock_ms:
            ends_ms.remove(ending)
            moments[kinds[ending[1]]].learn(lengths[ending[1]])
            throughput.served(lengths[ending[1]], clock_ms)
        else:
            ahead = [moments[kind].ahead(sum(kinds[at] == kind for at in waiting), MEDIANS[kind]) for kind in MEDIANS]
            if len(waiting) >= 50 and coming > 500:
                predicted[coming] = predicted_wait_ms(ahead, throughput.per_ms)
            waiting.append(coming)
            coming += 1
        while waiting and len(ends_ms) < SLOTS:
            started = waiting.pop(0)
            real[started] = clock_ms - arrived_ms[started]
            ends_ms.append((clock_ms + lengths[started] * TOKEN_MS, started))
    return [predicted[at] for at in predicted], [real[at] for at in predicted]


def test_waits_behind_many_are_predictable(record_effect) -> None:
    predicted, real = map(np.array, predictions_and_waits())
    assert len(real) > 1000
    explained = 1 - ((real - predicted) ** 2).sum() / ((real - real.mean()) ** 2).sum()
    error = float(np.percentile(np.abs(predicted - real) / real, 95))
    record_effect("Q1_wait_explained", value=float(explained), threshold=0.95, unit="R^2, 50 or more ahead")
    record_effect("Q1_wait_error", value=100 * error, threshold=15.0, unit="% p95 relative error", at_least=False)


@dataclass(frozen=True)
class Arrival:
    at_ms: float
    group: RequestGroup


def arrivals(seed: int) -> list[Arrival]:
    """Two models, three promises (20 s, a minute, an hour), groups of 16 requests, for ten minutes."""
    rng = np.random.default_rng(seed)
    found: list[Arrival] = []
    at_ms = 0.0
    while at_ms < 600_000:
        at_ms += float(rng.exponential(1500))
        promise_ms = float(rng.choice([20_000, 60_000, 3_600_000], p=[0.4, 0.3, 0.3]))
        work_ms = float(rng.uniform(2000, 6000))
        group = RequestGroup(f"g{len(found):04d}", str(rng.choice(["m1", "m2"])), at_ms + promise_ms, work_ms, 16)
        found.append(Arrival(at_ms, group))
    return found


Choice = Callable[[Sequence[RequestGroup], Instance, float], RequestGroup]


def attainment(choose: Choice, seed: int, instances: int = 4) -> float:
    coming = arrivals(seed)
    total = len(coming)
    waiting: list[RequestGroup] = []
    free = [(0.0, at, Instance("m1" if at % 2 else "m2", SWAP_MS)) for at in range(instances)]
    met = 0
    while coming or waiting:
        now_ms, number, instance = min(free, key=lambda each: each[:2])
        free.remove((now_ms, number, instance))
        if not waiting and coming[0].at_ms > now_ms:
            now_ms = coming[0].at_ms
        while coming and coming[0].at_ms <= now_ms:
            waiting.append(coming.pop(0).group)
        group = choose(waiting, instance, now_ms)
        waiting.remove(group)
        end_ms = now_ms + instance.takes_ms(group)
        met += end_ms <= group.deadline_ms
        free.append((end_ms, number, Instance(group.model, SWAP_MS)))
    return 100 * met / total


def test_models_are_changed_when_slack_demands_it_and_not_before(record_effect) -> None:
    policies: dict[str, Choice] = {
        "first come": lambda groups, _instance, _now_ms: groups[0],
        "deadline": lambda groups, _instance, _now_ms: min(groups, key=lambda group: group.deadline_ms),
        "groups": next_group,
    }
    met = {name: float(np.mean([attainment(choose, seed) for seed in range(4)])) for name, choose in policies.items()}
    gain = met["groups"] - max(met["first come"], met["deadline"])
    record_effect("Q1_over_deadline_order", value=gain, threshold=10.0, unit="points of attainment")


def test_no_program_would_meet_much_more(record_effect) -> None:
    """Every order of seven groups on one instance, and every split of six over two: what the best of them meets."""
    rng = np.random.default_rng(2)
    lost = [_best(groups, 1) - _met(group_order(groups, Instance("m1", SWAP_MS), 0.0)) for groups in _small(rng, 7, 12)]
    lost += [_best(groups, 2) - _greedy_over_two(groups) for groups in _small(rng, 5, 8)]
    points = 100 * sum(lost) / (12 * 7 + 8 * 5)
    record_effect("Q1_greedy_below_best", value=points, threshold=5.0, unit="points of attainment", at_least=False)


def _small(rng: np.random.Generator, groups: int, cases: int) -> list[list[RequestGroup]]:
    return [
        [
            RequestGroup(
                f"g{at}",
                str(rng.choice(["m1", "m2"])),
                float(rng.choice([20_000, 40_000, 60_000, 120_000])),
                float(rng.uniform(3000, 12_000)),
            )
            for at in range(groups)
        ]
        for _ in range(cases)
    ]


def _met(order: Sequence[RequestGroup]) -> int:
    instance, now_ms, met = Instance("m1", SWAP_MS), 0.0, 0
    for group in order:
        now_ms += instance.takes_ms(group)
        instance = Instance(group.model, SWAP_MS)
        met += now_ms <= group.deadline_ms
    return met


def _best(groups: Sequence[RequestGroup], instances: int) -> int:
    splits = product(range(instances), repeat=len(groups))
    return max(sum(_best_alone(_part(groups, split, number)) for number in range(instances)) for split in splits)


def _best_alone(groups: Sequence[RequestGroup]) -> int:
    return max(_met(order) for order in permutations(groups))


def _part(groups: Sequence[RequestGroup], split: Sequence[int], number: int) -> list[RequestGroup]:
    return [group for group, where in zip(groups, split, strict=True) if where == number]


def _greedy_over_two(groups: Sequence[RequestGroup]) -> int:
    left = list(groups)
    free = [(0.0, number, Instance("m1", SWAP_MS)) for number in range(2)]
    met = 0
    while left:
        now_ms, number, instance = free.pop(0)
        group = next_group(left, instance, now_ms)
        left.remove(group)
        end_ms = now_ms + instance.takes_ms(group)
        met += end_ms <= group.deadline_ms
        free = sorted([*free, (end_ms, number, Instance(group.model, SWAP_MS))], key=lambda each: each[:2])
    return met
