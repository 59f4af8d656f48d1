"""The latency model stays near the truth when what it sees is noisy and hardly varies."""

import numpy as np
import pytest

from tierline.scheduling.latency import BatchFeatures, Coefficients, LatencyModel, Roofline

TRUTH = Coefficients(12.0, 0.6, 3e-4, 0.6, 0.002)
PRIOR = Roofline(134.5e6, 269e6, 23_040, 30, 576, 5.7e11, 7.7e9)


def _single_stream(step: int) -> BatchFeatures:
    return BatchFeatures(0, 0, 1, 100 + step % 500)


def _phases(step: int) -> BatchFeatures:
    rows = 1 + (step // 200) % 8
    if step % 20 == 0:
        return BatchFeatures(128, 128 * 64, rows, rows * 100)
    return BatchFeatures(0, 0, rows, rows * (100 + step % 200))


@pytest.mark.parametrize("workload", [_single_stream, _phases])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_predictions_stay_within_a_factor_of_two_of_the_truth(workload, noise):
    random = np.random.default_rng(1)
    model = LatencyModel(PRIOR.coefficients())
    for step in range(1500):
        truth_ms = TRUTH.predict_ms(workload(step))
        if step > 300:
            assert 0.5 < model.coefficients.predict_ms(workload(step)) / truth_ms < 2
        model.observe(workload(step), truth_ms * max(1 + noise * random.standard_normal(), 0.2))
    assert min(model.coefficients) >= 0
