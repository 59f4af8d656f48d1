"""The switch that measures speculation against itself switched off."""

import math

import numpy as np
import pytest

from tierline.scheduling.speculation.switch import LEAST_GAIN, MIN_PAIRS, SpeculationSwitch, lower_bound

ROWS, PLAIN_MS = 4, 10.0


def run(switch: SpeculationSwitch, iterations: int, gain: float, noise: float = 0.0, ahead: int = 0) -> list[bool]:
    """Iterations that all want drafts; with them tokens per second are `gain` times those without."""
    random = np.random.default_rng(3)
    allowed, waiting = [], []
    for _ in range(iterations):
        may, epoch = switch.plan()
        allowed.append(may)
        waiting.append((may, epoch))
        if len(waiting) > ahead:
            settle(switch, *waiting.pop(0), gain, random.normal(1, noise))
    for entry in waiting:
        settle(switch, *entry, gain, 1.0)
    return allowed


def settle(switch: SpeculationSwitch, may: bool, epoch: int, gain: float, noise: float) -> None:
    if epoch:
        tokens = 3 * ROWS if may else ROWS
        elapsed_ms = PLAIN_MS * (3 / gain if may else 1) * noise
        switch.commit(epoch, tokens, elapsed_ms, ROWS, PLAIN_MS)


def test_the_bound_of_four_pairs_is_students() -> None:
    assert lower_bound((0.1, 0.2, 0.1)) is None
    assert lower_bound((0.1, 0.2, 0.1, 0.2)) == pytest.approx(0.15 - 1.638 * math.sqrt(0.01 / 3) / 2)
    assert lower_bound((0.1,) * 4) == pytest.approx(0.1)
    assert pytest.approx(math.log(0.97)) == LEAST_GAIN


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_pays_stays_on_and_the_test_costs_under_three_percent(ahead: int) -> None:
    switch = SpeculationSwitch()
    allowed = run(switch, 10_000, gain=1.4, noise=0.05, ahead=ahead)
    assert switch.on
    assert 1 - np.mean(allowed) <= 0.03


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_does_not_pay_is_off_soon_and_tried_ever_more_rarely(ahead: int) -> None:
    switch = SpeculationSwitch()
    allowed = run(switch, 20_000, gain=0.8, noise=0.05, ahead=ahead)
    assert not switch.on
    assert not all(allowed[:200])
    assert np.mean(allowed[200:10_000]) <= 0.03
    assert np.mean(allowed[10_000:]) <= 0.01


def test_what_begins_to_pay_is_switched_on_again() -> None:
    switch = SpeculationSwitch()
    run(switch, 400, gain=0.7)
    assert not switch.on
    run(switch, 2000, gain=1.5)
    assert switch.on


def test_pairs_of_unlike_load_say_nothing() -> None:
    switch = SpeculationSwitch()
    for _ in range(4000):
        may, epoch = switch.plan()
        if epoch:
            rows = ROWS if may else 2 * ROWS
            switch.commit(epoch, rows, 50.0, rows, PLAIN_MS)
    assert switch.on
    assert switch.state.ratios == ()


def test_a_verdict_needs_several_pairs() -> None:
    switch = SpeculationSwitch()
    seen = 0
    while switch.on:
        run(switch, 1, gain=0.5)
        seen = max(seen, len(switch.state.ratios))
    assert seen == MIN_PAIRS - 1
