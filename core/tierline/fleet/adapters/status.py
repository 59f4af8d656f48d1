"""What an adapter says about itself, and a quota about the adapters it names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tierline.api.adapter import WORKERS_TOLD
from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.verdicts import Verdict, conditions_of


@dataclass(frozen=True, slots=True)
class AdapterSight:
    """One adapter in one fleet: `standing` by worker that serves it, and why it is not served, if it is not."""

    standing: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def adapter_verdicts(fleets: Mapping[str, AdapterSight | None]) -> tuple[Verdict, ...]:
    """Return a valid adapter's conditions; `fleets` are those it names, None where there is none of that name."""
    accepted = Verdict("Accepted", True, "Valid", "The spec is valid.")
    placed = _placed(fleets)
    return (accepted, placed, Verdict("Ready", placed.holds, placed.reason, placed.message, is_news=False))


def adapter_status(
    owner: ObjectIdentity, verdicts: tuple[Verdict, ...], sights: Iterable[AdapterSight], now_ms: int
) -> Mapping[str, Any]:
    """Return the status to write."""
    standing = {worker: it for sight in sights for worker, it in sight.standing.items()}
    told = [{"name": worker, "standing": standing[worker]} for worker in sorted(standing)]
    return {
        "observedGeneration": owner.generation,
        "workers": told[:WORKERS_TOLD],
        "servingWorkers": len(told),
        "residentWorkers": sum(it["standing"] == "Resident" for it in told),
        "conditions": conditions_of(owner, verdicts, now_ms),
    }


def adapters_resolved(refs: Iterable[str], known: frozenset[str]) -> Verdict:
    """Return what a quota says of its `adapterRefs`; `known` are the adapters of its namespace."""
    lost = [f"spec.adapterRefs[{at}] names {name!r}" for at, name in enumerate(refs) if name not in known]
    if not lost:
        return Verdict("AdaptersResolved", True, "AllFound", "Every adapter that is named exists.", is_news=False)
    message = f"{'; '.join(lost)}, which is no valid LoRAAdapter here: create or correct it."
    return Verdict("AdaptersResolved", False, "AdapterNotFound", message)


def _placed(fleets: Mapping[str, AdapterSight | None]) -> Verdict:
    missing = [name for name, sight in fleets.items() if sight is None]
    if missing:
        message = f"spec.fleetRefs names {', '.join(missing)}: no such LLMFleet has been seen here with ready workers."
        return Verdict("Placed", False, "FleetNotReady", message)
    problems = [f"fleet {name}: {sight.problem}" for name, sight in fleets.items() if sight and sight.problem]
    if problems:
        return Verdict("Placed", False, "NotServed", f"{'; '.join(problems)}.")
    waiting = [name for name, sight in fleets.items() if sight and not sight.standing]
    if waiting:
        return Verdict("Placed", False, "Loading", f"Not loaded yet in {', '.join(waiting)}.", is_news=False)
    return Verdict("Placed", True, "Serving", "Every fleet serves the adapter.")
