"""What a fleet says of the further models that its gateway serves, and of the gateways of others that serve it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tierline.fleet.observed import Manifest
from tierline.fleet.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Guests:
    """The fleets in `spec.gateway.fleetRefs`: `missing` ones are not there or not valid; in `taken` are those whose
    model has the name of one that goes before, with that fleet.
    """

    refs: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    taken: Mapping[str, str] | None = None


def guests_of(fleet: Manifest) -> tuple[str, ...]:
    """Return the further fleets that a fleet's gateway serves, as declared, whether they exist or not."""
    named = (fleet["spec"].get("gateway") or {}).get("fleetRefs") or ()
    return tuple(str(name) for name in named)


def served_name(fleet: Manifest) -> str:
    """Return the name by which clients ask for a fleet's model."""
    return str(fleet["spec"]["model"].get("servedName") or fleet["metadata"]["name"])


def hosts(fleets: Iterable[Manifest]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Return the fleets whose gateways serve another one, too, by namespace and name of that."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for live in fleets:
        namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
        for guest in guests_of(live):
            found[namespace, guest].append(name)
    return {key: tuple(sorted(names)) for key, names in found.items()}


def guests(own: str, refs: Sequence[str], models: Mapping[str, str]) -> Guests:
    """Look at the references of fleet `own`; `models` are the names that fleets serve their models by.

    A name belongs to the gateway's own fleet, then to the first fleet in the order of their names, as in the gateway.
    """
    owners, taken = ({models[own]: own} if own in models else {}), {}
    for name in sorted(ref for ref in refs if ref in models):
        owner = owners.setdefault(models[name], name)
        if owner != name:
            taken[name] = owner
    return Guests(tuple(refs), frozenset(refs) - models.keys(), taken)


def guests_verdict(seen: Guests) -> Verdict:
    """Say whether every model is served that the fleet's gateway is asked to serve; the others are in any case."""
    lost = [_missing(seen.refs.index(name), name) for name in sorted(seen.missing)]
    clashes = [_taken(name, owner) for name, owner in sorted((seen.taken or {}).items())]
    if not lost and not clashes:
        served = f"The gateway serves the models of {len(seen.refs)} other fleets."
        return Verdict("FleetsResolved", True, "AllServed", served)
    reason = "FleetNotFound" if lost else "ModelNameTaken"
    return Verdict("FleetsResolved", False, reason, f"{'; '.join(lost + clashes)}. All others are served.")


def _missing(index: int, name: str) -> str:
    found = f"spec.gateway.fleetRefs[{index}] names the LLMFleet {name!r}, which does not exist or is not valid"
    return f"{found}: create or correct it, or remove the name"


def _taken(name: str, owner: str) -> str:
    return f"the model of fleet {name!r} has the name of that of {owner!r}: give one another spec.model.servedName"
