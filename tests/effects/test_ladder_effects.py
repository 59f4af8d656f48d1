"""What the shipped policy carries beside the other steps of the ladder: three tiers, lengths of Azure's conversations.

A minute's rush comes, one third of it each for a tight tier (1 s to the first token, 50 ms a token), a normal one
(4 s, 100 ms) and jobs (within two minutes). Nobody is told how long an answer becomes.
"""

from functools import cache

from simulated_fleets import run_fleet, source, tier

from tierline.sim.comparison import LoadPoint, load_point

TIERS = [
    tier("tight", 100, "Latency", 10_000, ttftMilliseconds={"p95": 1000}, tpotMilliseconds={"p95": 50}),
    tier("normal", 50, "Latency", 10_000, ttftMilliseconds={"p95": 4000}, tpotMilliseconds={"p95": 100}),
    tier("batch", 10, "Cost", 600_000, deadlineSeconds=120),
]
TENANTS = {"a": "tight", "b": "normal", "c": "batch"}
KNEE_PER_SECOND = 18.0
PROMISED = 0.95
STEP = 1.0
"""Requests/s to which capacities are found out."""


@cache
def point(policy: str, per_second: float) -> LoadPoint:
    traffic = [source(tenant, name, per_second / 3, maxTokens=1000) for tenant, name in TENANTS.items()]
    tenants = [{"name": tenant} for tenant in TENANTS]
    return load_point(run_fleet(policy, seconds=40, tiers=TIERS, tenants=tenants, traffic=traffic), 1.0)


def capacity(policy: str, low: float, high: float) -> float:
    """Return the most requests/s, of all tiers, with which the tight tier's promise holds."""
    while high - low > STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if point(policy, middle).attainment["tight"] >= PROMISED else (low, middle)
    return low


def test_the_tight_promise_holds_at_loads_at_which_simpler_policies_broke_it(record_effect) -> None:
    ours = capacity("tierline", 32, 48)
    chunked, edf = capacity("fcfs-chunked", 12, 20), capacity("edf+admission", 22, 38)
    record_effect("L1_capacity_fcfs", value=ours / chunked, threshold=2.0, unit="x requests/s of fcfs-chunked")
    record_effect("L1_capacity_edf", value=ours / edf, threshold=1.1, unit="x requests/s of edf+admission")


def test_half_more_than_the_knee_is_served_almost_as_well_as_in_hindsight(record_effect) -> None:
    knee, beyond = point("tierline", KNEE_PER_SECOND), point("tierline", 1.5 * KNEE_PER_SECOND)
    percent = 100 * beyond.in_time_per_second / knee.in_time_per_second
    record_effect("L2_goodput_at_150", value=percent, threshold=85.0, unit="% of the knee's requests/s in time")
    oracle = point("oracle", 1.5 * KNEE_PER_SECOND)
    assert oracle.in_time_per_second >= beyond.in_time_per_second
    percent = 100 * beyond.in_time_per_second / oracle.in_time_per_second
    record_effect("L2_of_the_oracle", value=percent, threshold=93.0, unit="% of the oracle's requests in time at 150 %")


def two_classes(policy: str, per_second: float) -> dict[str, float]:
    """Half of the requests in 1 s and 50 ms a token, half in 60 s and 200 ms; percent of each that keep it."""
    tiers = [
        TIERS[0],
        tier("batch", 10, "Throughput", 60_000, ttftMilliseconds={"p95": 60_000}, tpotMilliseconds={"p95": 200}),
    ]
    traffic = [source(tenant, tenant, per_second / 2, maxTokens=1000) for tenant in ("tight", "batch")]
    tenants = [{"name": "tight"}, {"name": "batch"}]
    result = run_fleet(policy, seconds=60, tiers=tiers, tenants=tenants, traffic=traffic)
    return {name: 100 * share for name, share in load_point(result, 1.0).attainment.items()}


def test_two_classes_share_a_worker_below_and_at_its_knee(record_effect) -> None:
    for per_second in (16, KNEE_PER_SECOND):
        kept = two_classes("tierline", per_second)
        for name, least in (("tight", 98.0), ("batch", 99.0)):
            experiment = f"L4_{name}_at_{per_second:.0f}"
            record_effect(experiment, value=kept[name], threshold=least, unit=f"% of the {name} class in time")
