import numpy as np
import pytest

from tierline.scheduling.latency import (
    COLD_MARGIN,
    BatchFeatures,
    Coefficients,
    LatencyModel,
    Roofline,
)

H100_8B = Coefficients(7.0, 0.0189, 1.3e-6, 0.02, 5.6e-5)


def batches(count: int, seed: int) -> list[BatchFeatures]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        prefill = float(rng.integers(0, 2048)) if rng.random() < 0.5 else 0.0
        decodes = float(rng.integers(1, 128))
        context = float(rng.integers(0, 4000))
        made.append(BatchFeatures(prefill, prefill * (context + prefill / 2), decodes, decodes * 700.0))
    return made


def observe_all(model: LatencyModel, truth: Coefficients, features: list[BatchFeatures], seed: int = 0) -> list[float]:
    """Feed noisy measurements (3 %, and one in 200 is five times as long); returns relative prediction errors."""
    rng = np.random.default_rng(seed)
    errors = []
    for batch in features:
        actual_ms = truth.predict_ms(batch)
        errors.append(abs(model.coefficients.predict_ms(batch) - actual_ms) / actual_ms)
        outlier = 5.0 if rng.random() < 0.005 else 1.0
        model.observe(batch, actual_ms * rng.normal(1, 0.03) * outlier)
    return errors


@pytest.mark.parametrize("wrong_by", [0.02, 1.0, 50.0])
def test_learns_from_a_prior_that_is_far_off(wrong_by: float) -> None:
    model = LatencyModel(Coefficients(*(wrong_by * value for value in H100_8B)))
    errors = observe_all(model, H100_8B, batches(400, seed=1))
    assert np.mean(errors[200:]) <= 0.05


def test_follows_a_device_that_became_slower() -> None:
    model = LatencyModel(H100_8B)
    observe_all(model, H100_8B, batches(500, seed=2))
    slower = Coefficients(
        *(value * factor for value, factor in zip(H100_8B[:5], (1.2, 1.35, 1.3, 1.2, 1.35), strict=True))
    )
    errors = observe_all(model, slower, batches(1200, seed=3), seed=4)
    assert np.mean(errors[1000:]) <= 0.05


def test_follows_a_device_that_became_three_times_slower() -> None:
    model = LatencyModel(H100_8B)
    observe_all(model, H100_8B, batches(500, seed=2))
    errors = observe_all(model, Coefficients(*(3 * value for value in H100_8B)), batches(1200, seed=3), seed=4)
    assert np.mean(errors[1000:]) <= 0.05


def test_a_lone_outlier_teaches_nothing() -> None:
    model = LatencyModel(H100_8B)
    observe_all(model, H100_8B, batches(200, seed=5))
    before = model.coefficients
    model.observe(BatchFeatures(0, 0, 10, 7000), 10_000.0)
    assert model.coefficients == before


def test_coefficients_are_never_negative() -> None:
    model = LatencyModel(H100_8B)
    rng = np.random.default_rng(6)
    for batch in batches(500, seed=6):
        model.observe(batch, float(rng.uniform(0.1, 300)))
        assert min(model.coefficients) >= 0


@pytest.mark.parametrize("elapsed_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_measurements_are_ignored(elapsed_ms: float) -> None:
    model = LatencyModel(H100_8B)
    model.observe(BatchFeatures(0, 0, 1, 10), elapsed_ms)
    assert model.samples == 0


def test_decode_only_traffic_stays_stable() -> None:
    model = LatencyModel(H100_8B)
    same = BatchFeatures(0.0, 0.0, 32.0, 32_000.0)
    for _ in range(20_000):
        model.observe(same, 12.0)
    assert model.coefficients.predict_ms(same) == pytest.approx(12.0, rel=0.01)
    assert all(np.isfinite(model.coefficients))


def test_publishes_residual_and_samples() -> None:
    model = LatencyModel(H100_8B)
    assert (model.residual_p95_ms, model.margin, model.samples) == (0.0, COLD_MARGIN, 0)
    observe_all(model, H100_8B, batches(256, seed=7))
    assert model.samples == 256
    assert 0.01 < model.margin < 0.15
    assert model.residual_p95_ms > 0


@pytest.mark.parametrize("context", [0, 500, 8000])
@pytest.mark.parametrize("budget_ms", [0.5, 10.0, 200.0])
def test_longest_chunk_within_a_budget(context: int, budget_ms: float) -> None:
    tokens = H100_8B.chunk_tokens(budget_ms, context)
    assert H100_8B.chunk_ms(tokens, context) <= budget_ms < H100_8B.chunk_ms(tokens + 1, context)


def test_chunk_without_cost_or_bound_is_unlimited() -> None:
    free = Coefficients(7.0, 0.0, 0.0, 0.0, 0.0)
    assert free.chunk_tokens(1.0, 0) >= 2**31
    assert H100_8B.chunk_tokens(float("inf"), 0) >= 2**31
    assert H100_8B.chunk_tokens(0.0, 0) == H100_8B.chunk_tokens(-1.0, 0) == 0


def test_roofline_of_an_8b_model_is_near_the_measured_coefficients() -> None:
    roofline = Roofline(8e9, 16e9, 131_072, 32, 4096, 800e12, 3e12)
    for guessed, measured in zip(roofline.coefficients()[:5], H100_8B[:5], strict=True):
        assert measured / 3 <= guessed <= measured * 3


def test_before_it_is_measured_a_draft_token_costs_a_prompts_token_and_the_draft_models_weights() -> None:
    roofline = Roofline(8e9, 16e9, 131_072, 32, 4096, 800e12, 3e12, draft_weight_bytes=3e9)
    coefficients = roofline.coefficients()
    assert coefficients.verified_token_ms == coefficients.prefill_token_ms
    assert coefficients.drafted_token_ms == pytest.approx(1.0)


def test_a_short_chunk_behind_a_deep_context_is_priced_by_the_context_it_reads():
    """On a CPU one token behind 7,000 takes more than a quarter of what sixteen do, not a sixteenth."""
    cpu = Coefficients(38.0, 2.3, 0.0011, 3.0, 0.007)
    one, sixteen = cpu.chunk_ms(1, 7000), cpu.chunk_ms(16, 7000)
    assert one == pytest.approx(2.3 + 0.0011 * 7000.5 + 0.007 * 7001)
    assert 3 < sixteen / one < 4
    assert cpu.chunk_tokens(1.001 * one, 7000) == 1
    assert cpu.chunk_tokens(0.007 * 7000, 7000) == 0
    assert cpu.chunk_ms(0, 7000) == 0
