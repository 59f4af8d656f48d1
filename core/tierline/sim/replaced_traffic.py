"""A scenario's tiers, tenants and workers under other traffic: that of a recorded file.

A CSV names tenant and tier in its rows; a column may lack where the scenario has only one to choose from.
"""

from pathlib import Path

from tierline.sim.recorded import TENANT_COLUMN, TIER_COLUMN, InvalidRecording, columns_of
from tierline.sim.scenario import Scenario, TrafficSection


def with_traffic_of(scenario: Scenario, path: Path) -> Scenario:
    """Return the scenario with the requests of `path` instead of its own; raises `InvalidRecording`.

    `path` is a CSV, plain or gzipped, or else a trace that gateways recorded.
    """
    if ".csv" not in path.suffixes:
        return scenario.model_copy(update={"traffic": (TrafficSection(trace=str(path.resolve())),)})
    columns = columns_of(path)
    tenant = _only(TENANT_COLUMN, columns, [tenant.name for tenant in scenario.tenants], path)
    tier = _only(TIER_COLUMN, columns, [tier.name for tier in scenario.tiers], path)
    traffic = TrafficSection(csv=str(path.resolve()), tenant=tenant, tier=tier)
    return scenario.model_copy(update={"traffic": (traffic,)})


def _only(column: str, columns: frozenset[str], names: list[str], path: Path) -> str | None:
    """Return the one name that all rows have, None where each row names its own."""
    if column in columns:
        return None
    if len(names) > 1:
        listed = ", ".join(names)
        raise InvalidRecording(f"{path} has no column {column!r}: add one that names for each row one of {listed}")
    return names[0]
