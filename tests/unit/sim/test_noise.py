"""Devices whose iterations vary: by as much as is said, seeded, and each on its own."""

import numpy as np
import pytest
from simulated_fleets import H100_8B, run_fleet, source, tier

from tierline.sim.noise import EXACT, Noise


def test_factors_vary_by_the_percent_about_one() -> None:
    noise = Noise(20.0, seed=1)
    factors = np.array([noise.factor() for _ in range(20_000)])
    assert float(np.log(factors).std()) == pytest.approx(0.2, rel=0.03)
    assert float(factors.mean()) == pytest.approx(1, abs=0.005)


def test_the_seed_decides_and_none_is_exact() -> None:
    first, again, other = (Noise(5.0, seed) for seed in (1, 1, 2))
    assert first.factor() == again.factor() != other.factor()
    assert {EXACT.factor() for _ in range(3)} == {1.0}


def durations(percent: float) -> tuple[float, float]:
    latency = {**H100_8B, "noisePercent": percent}
    parts = {"tiers": [tier("t", 1, "Latency", 5000)], "tenants": [{"name": "a"}], "latency": latency}
    run = run_fleet("tierline", seconds=5, traffic=[source("a", "t", 4.0)], **parts).fleet_run
    return run.duration_ms, run.workers[0].busy_ms


def test_a_noisy_fleet_is_another_one_and_the_same_each_time() -> None:
    assert durations(5.0) == durations(5.0) != durations(0.0)
