"""How much an iteration takes longer or shorter than the latency model says: no device is as regular as its model.

    elapsed = predicted * exp(N(-sigma^2 / 2, sigma))          sigma = percent / 100

Inputs: percent and seed, one generator for each device, so that what one device does changes nothing on another.
Bounds: none but that times stay positive; the mean is the model's, which predicts means. Not for: devices that change
their speed, which is a slowdown (`faults`).
"""

import numpy as np

_DRAWN_AT_ONCE = 1024


class Noise:
    """A seeded sequence of factors; 1.0 for ever when `percent` is 0."""

    def __init__(self, percent: float, seed: int) -> None:
        self._sigma = percent / 100
        self._rng = np.random.default_rng([seed, 0x4E6F])
        self._drawn: list[float] = []

    def factor(self) -> float:
        """Return the next iteration's factor."""
        if not self._sigma:
            return 1.0
        if not self._drawn:
            self._drawn = np.exp(self._rng.normal(-(self._sigma**2) / 2, self._sigma, _DRAWN_AT_ONCE)).tolist()
        return self._drawn.pop()


EXACT = Noise(0.0, 0)
"""A device that does what the model says."""
