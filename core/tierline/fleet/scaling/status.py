"""What planning says about a fleet: is it scaled as its load asks, are its workers placed, is something held back.

Messages carry figures of the moment at which a decision changed, not of every look: a status is written only when its
meaning changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tierline.fleet.observed import Manifest
from tierline.fleet.scaling.planner import PoolDecision, ScalingPlan
from tierline.fleet.scaling.turns import Turn
from tierline.fleet.verdicts import Verdict

PLANNING_CONDITIONS = ("Feasible", "Placed", "Scaled", "Degraded")
STILL_REASON = "SignalsSilent"
FALLBACK_REASON = "FollowsLoadByFallback"


@dataclass(frozen=True, slots=True)
class WaitingWorkers:
    """Workers without a node: how many have waited longer than their market's patience, and on-demand stand-ins."""

    waiting: int = 0
    stand_ins: int = 0


def external() -> Verdict:
    return Verdict(
        "Scaled", True, "External", "Replicas are written by others (scaling.mode: External).", is_news=False
    )


def holding_still(why: str, source: str) -> Verdict:
    """Say that nobody can tell how the fleet is doing, so that its size stays as it is."""
    fix = "check spec of the source, the network policy and that gateways run"
    return Verdict(
        "Scaled", False, STILL_REASON, f"Holding still, for signals from {source} are missing: {why}; {fix}."
    )


def scaled(plan: ScalingPlan, caps: Mapping[str, int], highs: Mapping[str, int], turns: Mapping[str, Turn]) -> Verdict:
    """Say whether every pool has what its load asks for; `caps` are pools that gave accelerators to a higher tier,
    `turns` those that wait for theirs among equals."""
    given = [it for it in plan.decisions if it.name in caps and caps[it.name] < it.replicas]
    if given:
        told = "; ".join(f"{it.name} keeps {caps[it.name]} of {it.replicas}" for it in given)
        return Verdict("Scaled", False, "GaveAccelerators", f"A higher tier lacks accelerators: {told}.")
    waiting = [(it, turns[it.name]) for it in plan.decisions if it.name in turns and turns[it.name].most < it.replicas]
    if waiting:
        told = "; ".join(f"{it.name} has {turn.most} of {it.replicas}, after {turn.after}" for it, turn in waiting)
        message = f"Accelerators are short, and pools of its tier get them in turn: {told}."
        return Verdict("Scaled", False, "WaitsForItsTurn", message, is_news=False)
    full = [it for it in plan.decisions if it.need > highs.get(it.name, it.need)]
    if full:
        told = "; ".join(f"{it.name} needs {it.need} and may have {highs[it.name]}" for it in full)
        return Verdict("Scaled", False, "AtMaximum", f"The load asks for more than replicas.max allows: {told}.")
    return Verdict("Scaled", True, "FollowsLoad", f"{' '.join(map(_told, plan.decisions))}", is_news=False)


def by_fallback(verdict: Verdict, source: str, instead_of: str) -> Verdict:
    """Add to what is said of scaling whose figures it goes by while the usual source does not tell."""
    message = f"{verdict.message} Signals come from {source}, for {instead_of} does not tell of this fleet."
    return replace(verdict, message=message, reason=FALLBACK_REASON if verdict.holds else verdict.reason, is_news=True)


def placed(workers: WaitingWorkers) -> Verdict:
    """Say whether every worker has a node of the kind it should run on."""
    if workers.waiting:
        message = f"{workers.waiting} workers wait for capacity; {workers.stand_ins} run on demand in place of spot."
        return Verdict("Placed", False, "WaitingForCapacity", message)
    if workers.stand_ins:
        message = f"{workers.stand_ins} workers run on demand in place of spot."
        return Verdict("Placed", True, "StandIns", message, is_news=False)
    return Verdict("Placed", True, "AsPlanned", "Every worker has a node of its kind.", is_news=False)


def degraded(others: Sequence[Verdict]) -> Verdict:
    """Sum up: something keeps the fleet from what its tiers ask for."""
    broken = [it for it in others if it.holds is False]
    if broken:
        return Verdict("Degraded", True, broken[0].reason, broken[0].message, is_news=False)
    return Verdict("Degraded", False, "AsDeclared", "Nothing keeps the fleet from its targets.", is_news=False)


def standing_verdicts(conditions: Iterable[Manifest], types: Sequence[str]) -> tuple[Verdict, ...]:
    """Return conditions as they stand, for the time before the first plan of a new leader."""
    holds = {"True": True, "False": False, "Unknown": None}
    return tuple(
        Verdict(it["type"], holds[it["status"]], it["reason"], it.get("message", ""), is_news=False)
        for it in conditions
        if it["type"] in types
    )


def _told(it: PoolDecision) -> str:
    return f"Pool {it.name}: {it.replicas} replicas ({it.reason})."
