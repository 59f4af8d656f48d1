"""How long an iteration takes, learned while it runs.

    t = a + b*P + c*sum(chunk*(context + chunk/2)) + d*N_decode + e*KV_read + f*V + g*D + h*A     (milliseconds)

P are prefill tokens, N_decode decoding rows, KV_read the sum of the contexts of all rows (a chunk reads its own once),
V verified and D drafted tokens, A tokens computed with an adapter. The coefficients start from a roofline
and follow the device by recursive least squares with exponential forgetting (Haykin, Adaptive Filter Theory, ch. 10)
on the relative error, so that a 2 ms decode counts as much as a 200 ms prefill; they never become negative. What they
say is raised to the mean of what iterations take (`mean_level`).
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.mean_level import MeanLevel
from tierline.scheduling.tail_margin import MAX_MARGIN, TailMargin

FORGETTING = 0.995
OUTLIER_RELATIVE_ERROR = 0.4
OUTLIERS_IN_A_ROW = 4
EXACT = 1e-6
"""What was predicted as closely as this teaches nothing. No device is so regular, a simulated one always is."""
WARM_SAMPLES = 50
MEASURED_SAMPLES = 16
"""With so many the margin is what was measured; before, coefficients and margin are guesses."""
RESIDUAL_WINDOW = 256
COLD_MARGIN = 0.25
_PRIOR_VARIANCE = 1e3
"""In units of the noise's. Where features hardly vary, as chunks of one prompt do, a prior that says less lets noise
decide which of them costs: prompts become free, and a chunk of all that is allowed takes many times its budget."""
_MAX_TRACE = 1e6
_SMALLEST_PRIOR_MS = 1e-12
_UNBOUNDED_TOKENS = 2**31
_ADAPTER_SHARE = 0.1
"""Of a prefill token's time: what an adapter adds to a token before it was measured."""


class BatchFeatures(NamedTuple):
    """What the duration of an iteration depends on; `attention_pairs` is sum(chunk*(context + chunk/2)).

    `verified_tokens` and `drafted_tokens` are the draft tokens of all rows, `adapter_tokens` those with an adapter.
    """

    prefill_tokens: float
    attention_pairs: float
    decodes: float
    kv_read_tokens: float
    verified_tokens: float = 0.0
    drafted_tokens: float = 0.0
    adapter_tokens: float = 0.0


class Coefficients(NamedTuple):
    """Milliseconds: per iteration, per prefill token, per attention pair, per decoding row, per KV token read, and per
    verified, drafted and adapter token."""

    iteration_ms: float
    prefill_token_ms: float
    attention_pair_ms: float
    decode_ms: float
    kv_token_ms: float
    verified_token_ms: float = 0.0
    drafted_token_ms: float = 0.0
    adapter_token_ms: float = 0.0

    def predict_ms(self, features: BatchFeatures) -> float:
        """Return the duration of an iteration with these features."""
        return (
            self.iteration_ms
            + self.prefill_token_ms * features.prefill_tokens
            + self.attention_pair_ms * features.attention_pairs
            + self.decode_ms * features.decodes
            + self.kv_token_ms * features.kv_read_tokens
            + self.verified_token_ms * features.verified_tokens
            + self.drafted_token_ms * features.drafted_tokens
            + self.adapter_token_ms * features.adapter_tokens
        )

    def chunk_ms(self, tokens: int, context_tokens: int) -> float:
        """Return what a chunk of `tokens` after `context_tokens` adds to an iteration."""
        pairs = tokens * (context_tokens + tokens / 2)
        read = context_tokens + tokens if tokens else 0
        return self.prefill_token_ms * tokens + self.attention_pair_ms * pairs + self.kv_token_ms * read

    def chunk_tokens(self, budget_ms: float, context_tokens: int) -> int:
        """Return the longest chunk after `context_tokens` that adds at most `budget_ms` (a huge number if free)."""
        if budget_ms == math.inf:
            return _UNBOUNDED_TOKENS
        left_ms = budget_ms - self.kv_token_ms * context_tokens
        if left_ms <= 0:
            return 0
        linear = self.prefill_token_ms + self.kv_token_ms + self.attention_pair_ms * context_tokens
        root = linear + math.sqrt(linear * linear + 2 * self.attention_pair_ms * left_ms)
        return int(min(2 * left_ms / root, _UNBOUNDED_TOKENS)) if root > 0 else _UNBOUNDED_TOKENS


def published(values: Sequence[float]) -> Coefficients | None:
    """Return the coefficients that a worker tells, None when it tells none or no finite ones; later terms may lack."""
    if not 5 <= len(values) <= len(Coefficients._fields) or not all(map(math.isfinite, values)):
        return None
    return Coefficients(*values)


@dataclass(frozen=True, slots=True)
class Roofline:
    """A device and a model, for coefficients before the first measurement. FLOP/s and byte/s are peaks."""

    parameters: float
    weight_bytes: float
    kv_bytes_per_token: float
    layers: int
    hidden: int
    flops_per_second: float
    bytes_per_second: float
    overhead_ms: float = 2.0
    draft_weight_bytes: float = 0.0

    def coefficients(self) -> Coefficients:
        """Return the cold start: weights are read once an iteration; GEMMs reach 0.6, attention 0.4 of the peak.

        A verified token is computed as a prompt's is; for a drafted one the draft model's weights are read once.
        """
        return Coefficients(
            self.overhead_ms + 1e3 * self.weight_bytes / self.bytes_per_second,
            1e3 * 2 * self.parameters / (0.6 * self.flops_per_second),
            1e3 * 4 * self.hidden * self.layers / (0.4 * self.flops_per_second),
            0.02,
            1e3 * self.kv_bytes_per_token / (0.7 * self.bytes_per_second),
            1e3 * 2 * self.parameters / (0.6 * self.flops_per_second),
            1e3 * self.draft_weight_bytes / self.bytes_per_second,
            _ADAPTER_SHARE * 1e3 * 2 * self.parameters / (0.6 * self.flops_per_second),
        )


class LatencyModel:
    """The coefficients of one engine, updated with each committed iteration."""

    def __init__(self, prior: Coefficients) -> None:
        self._prior = np.maximum(np.array(prior, np.float64), _SMALLEST_PRIOR_MS)
        self._factors = np.ones(len(self._prior))
        self._covariance: NDArray[np.float64] = np.eye(len(self._prior)) * _PRIOR_VARIANCE
        self._relative_errors: deque[float] = deque(maxlen=RESIDUAL_WINDOW)
        self._errors_ms: deque[float] = deque(maxlen=RESIDUAL_WINDOW)
        self._outliers = 0
        self._margin = COLD_MARGIN
        self._beside_decodes = TailMargin()
        self._mean, self._level = MeanLevel(), 1.0
        self.coefficients = Coefficients(*self._prior.tolist())
        self.samples = 0

    def observe(self, features: BatchFeatures, elapsed_ms: float) -> None:
        """Learn from one iteration; a lone outlier (a pause of the collector, a graph capture) is only counted."""
        if not (elapsed_ms > 0 and math.isfinite(elapsed_ms)):
            return
        predicted_ms = self.coefficients.predict_ms(features)
        fitted_ms, error_ms = predicted_ms / self._level, elapsed_ms - predicted_ms
        self.samples += 1
        if self.samples > WARM_SAMPLES:
            self._mean.add(fitted_ms, elapsed_ms)
        self._errors_ms.append(abs(error_ms))
        self._relative_errors.append(abs(error_ms) / elapsed_ms)
        if self.samples % MEASURED_SAMPLES == 0:
            self._margin = min(_p95(self._relative_errors), MAX_MARGIN)
            self._raise_to(self._mean.level())
        if self._is_outlier((elapsed_ms - fitted_ms) / elapsed_ms):
            return
        if features.prefill_tokens and features.decodes:
            self._beside_decodes.add(error_ms / elapsed_ms)
        if abs(elapsed_ms - fitted_ms) <= EXACT * elapsed_ms:
            return
        self._update(np.array((1.0, *features)) * self._prior / elapsed_ms)

    @property
    def margin(self) -> float:
        """What to plan with: predicted time times (1 + margin) holds for 95 % of iterations."""
        return self._margin

    @property
    def chunk_margin(self) -> float:
        """What to plan prompts beside decodes with: such an iteration ends before its predicted time times (1 + margin)
        in 99 % of cases. It is `margin` before enough of them were measured."""
        return self._beside_decodes.above(self.margin)

    @property
    def residual_p95_ms(self) -> float:
        """95th percentile of the last predictions' absolute error, 0 before the first."""
        return _p95(self._errors_ms) if self._errors_ms else 0.0

    def _is_outlier(self, relative_error: float) -> bool:
        if self.samples <= WARM_SAMPLES or abs(relative_error) <= OUTLIER_RELATIVE_ERROR:
            self._outliers = 0
            return False
        self._outliers += 1
        if self._outliers <= OUTLIERS_IN_A_ROW:
            return True
        # So many in a row are no outliers but another regime: learn as fast as at the start.
        self._covariance = np.eye(len(self._prior)) * _PRIOR_VARIANCE
        self._outliers = 0
        return False

    def _update(self, row: NDArray[np.float64]) -> None:
        """One step of least squares under factors >= 0: features whose factor would turn negative sit it out at 0.

        Cutting negative factors off after a full step instead makes the others grow without bound.
        """
        active, factors = np.ones(len(row)), self._factors
        while True:
            projected = self._covariance @ (row * active)
            gain = projected / (FORGETTING + (row * active) @ projected)
            moved = factors + active * gain * (1.0 - row @ factors)
            if moved.min() >= 0:
                break
            active = active * (moved >= 0)
            factors = self._factors * active
        self._factors = moved
        covariance = self._covariance - gain[:, None] * projected
        # Without excitation forgetting lets the covariance grow without bound.
        if covariance.trace() < _MAX_TRACE:
            covariance /= FORGETTING
        self._covariance = covariance
        self._tell()

    def _raise_to(self, level: float) -> None:
        if level != self._level:
            self._level = level
            self._tell()

    def _tell(self) -> None:
        self.coefficients = Coefficients(*(self._factors * self._prior * self._level).tolist())


def _p95(errors: Sequence[float]) -> float:
    """Return the nearest-rank percentile; for so few values sorting is much faster than numpy's."""
    return sorted(errors)[math.ceil(0.95 * len(errors)) - 1]
