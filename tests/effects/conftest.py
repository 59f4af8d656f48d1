"""`record_effect` writes what a policy's experiment measured into `out/effects.json` and fails below the threshold."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import pytest

SCHEMA_VERSION = 1


class EffectRecorder:
    """Adds experiments to the file one by one, so that parallel test processes can share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, experiment: str, *, value: float, threshold: float, unit: str, at_least: bool = True) -> None:
        passed = value >= threshold if at_least else value <= threshold
        entry = {"value": round(value, 4), "threshold": threshold, "unit": unit, "pass": passed}
        self._write(experiment, entry)
        sign = ">=" if at_least else "<="
        assert passed, f"{experiment}: {value:.4g} {unit}, must be {sign} {threshold}"

    def _write(self, experiment: str, entry: dict[str, object]) -> None:
        self._path.parent.mkdir(exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            experiments = json.loads(self._path.read_text())["experiments"] if self._path.exists() else {}
            experiments[experiment] = entry
            document = {"schema_version": SCHEMA_VERSION, "experiments": dict(sorted(experiments.items()))}
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(document, indent=2) + "\n")
            fresh.replace(self._path)


@pytest.fixture
def record_effect(pytestconfig: pytest.Config) -> Callable[..., None]:
    return EffectRecorder(pytestconfig.rootpath / "out" / "effects.json")
