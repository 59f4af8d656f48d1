"""What a pool, and its fleet for all its pools, say about a change that is under way or was taken back."""

from collections.abc import Iterable

from tierline.fleet.observed import Manifest
from tierline.fleet.rollout.steps import Hold
from tierline.fleet.verdicts import Verdict

TYPE = "RolledOut"
ROLLED_BACK = "RolledBack"


def rollout_verdict(hold: Hold | None, old_workers: int, workers: int) -> Verdict:
    """Return the condition of a pool; `old_workers` of its `workers` are of a revision that should be replaced."""
    if hold is not None:
        return Verdict(TYPE, False, hold.reason, hold.message, is_news=hold.reason == ROLLED_BACK)
    if old_workers:
        message = f"{old_workers} of {workers} workers have an old revision."
        return Verdict(TYPE, False, "Updating", message, is_news=False)
    return Verdict(TYPE, True, "UpToDate", "All workers have the wanted revision.", is_news=False)


def fleet_rollout_verdict(pools: Iterable[Manifest]) -> Verdict:
    """Return the condition of a fleet: that of its first pool whose change is not through."""
    for live in pools:
        told = next((it for it in live.get("status", {}).get("conditions", ()) if it["type"] == TYPE), None)
        if told is not None and told["status"] != "True":
            message = f"Pool {live['metadata']['name']}: {told['message']}"
            return Verdict(TYPE, False, told["reason"], message, is_news=told["reason"] == ROLLED_BACK)
    return Verdict(TYPE, True, "UpToDate", "All workers have the wanted revision.", is_news=False)
