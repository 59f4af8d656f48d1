"""What a pool, and its fleet for all its pools, say about a change that is under way or was taken back."""

from collections.abc import Mapping, Sequence
from typing import Any

from tierline.fleet.observed import Manifest, ObjectIdentity
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


def fleet_rollout_verdict(fleet: ObjectIdentity, pools: Sequence[Manifest]) -> Verdict:
    """Return the condition of a fleet: that of its first pool whose change is not through.

    What a pool said of an older spec is no answer to a new spec of the fleet: whoever waits for the condition would be
    told of the workers as they were. While a pool was only scaled, the fleet's condition stands.
    """
    for live in pools:
        told = _rolled_out(live)
        if told.get("status", "True") != "True" and not _is_behind(live):
            message = f"Pool {live['metadata']['name']}: {told['message']}"
            return Verdict(TYPE, False, told["reason"], message, is_news=told["reason"] == ROLLED_BACK)
    behind = next((live["metadata"] for live in pools if _is_behind(live)), None)
    if behind is None:
        return Verdict(TYPE, True, "UpToDate", "All workers have the wanted revision.", is_news=False)
    standing = next((it for it in fleet.conditions if it["type"] == TYPE), {})
    if _generation(standing) == fleet.generation:
        return Verdict(TYPE, standing["status"] == "True", standing["reason"], standing["message"], is_news=False)
    return Verdict(TYPE, False, "Updating", f"Pool {behind['name']} is yet to follow its new spec.", is_news=False)


def _is_behind(live: Manifest) -> bool:
    return _generation(_rolled_out(live)) < int(live["metadata"].get("generation", 0))


def _rolled_out(live: Manifest) -> Mapping[str, Any]:
    return next((it for it in live.get("status", {}).get("conditions", ()) if it["type"] == TYPE), {})


def _generation(condition: Mapping[str, Any]) -> int:
    return int(condition.get("observedGeneration", 0))
