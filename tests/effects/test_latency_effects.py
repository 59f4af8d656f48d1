"""How well the latency model predicts while the device changes under it."""

import numpy as np

from tierline.scheduling.latency import BatchFeatures, Coefficients, LatencyModel

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)
THROTTLED = Coefficients(8.4, 0.0255, 1.7e-6, 0.024, 7.5e-5)
ITERATIONS_TO_LEARN = 1000
ITERATIONS_TO_JUDGE = 1000


def batch(rng: np.random.Generator) -> BatchFeatures:
    prefill = float(rng.integers(0, 2048)) if rng.random() < 0.5 else 0.0
    context, decodes = float(rng.integers(0, 4000)), float(rng.integers(1, 128))
    return BatchFeatures(prefill, prefill * (context + prefill / 2), decodes, decodes * 700)


def test_predictions_recover_after_the_device_slows_down(record_effect) -> None:
    """3 % noise, one iteration in 200 takes five times as long; the clock drops by a fifth to a third."""
    rng = np.random.default_rng(10)
    model = LatencyModel(Coefficients(*(3 * value for value in H100_8B)))
    errors = []
    for iteration in range(2 * ITERATIONS_TO_LEARN + ITERATIONS_TO_JUDGE):
        truth = H100_8B if iteration < ITERATIONS_TO_LEARN else THROTTLED
        features = batch(rng)
        elapsed_ms = truth.predict_ms(features) * rng.normal(1, 0.03) * (5 if rng.random() < 0.005 else 1)
        errors.append(abs(model.coefficients.predict_ms(features) / truth.predict_ms(features) - 1))
        model.observe(features, elapsed_ms)
    percent = 100 * float(np.mean(errors[-ITERATIONS_TO_JUDGE:]))
    record_effect("latency_model_error", value=percent, threshold=5.0, unit="% mean error after drift", at_least=False)
