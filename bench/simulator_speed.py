"""Simulated seconds per second of CPU time and worker, on `examples/scenarios/three-tiers.yaml`; the goal is 100."""

import statistics
import time
from pathlib import Path

from tierline.sim.ladder import LADDER
from tierline.sim.run import simulate
from tierline.sim.scenario import load_scenario
from tierline_cli.bench.hardware import yardstick_ms

SCENARIO = Path(__file__).parents[1] / "examples" / "scenarios" / "three-tiers.yaml"
RUNS = 5
GOAL = 100.0


def speed() -> float:
    scenario = load_scenario(SCENARIO)
    began_s = time.process_time()
    run = simulate(scenario, LADDER["tierline"], scenario.seed, SCENARIO.parent).fleet_run
    return len(run.workers) * run.duration_ms / 1000 / (time.process_time() - began_s)


def main() -> None:
    speeds = sorted(speed() for _ in range(RUNS))
    speed_now = f"simulator {statistics.median(speeds):.0f}x real time per worker, median of {RUNS} (goal {GOAL:.0f}x)"
    print(f"{speed_now}; yardstick {yardstick_ms():.0f} ms")


if __name__ == "__main__":
    main()
