"""Short ways to say who claims accelerators."""

from collections.abc import Sequence

from tierline.fleet.scaling.claims import Claim, PoolKey
from tierline.fleet.scaling.sharing import SharingMemory, plan_sharing

SHARES = {"demo": 1}


def claim(name: str, namespace: str = "demo", **said: object) -> Claim:
    standard = {"kind": "h100", "units": 1, "priority": 50, "may_give": True, "low": 1, "wanted": 2, "held": 2}
    return Claim((namespace, name), **{**standard, **said})  # type: ignore[arg-type]


def short_for(lasting_ms: int, claims: Sequence[Claim], capacity: int) -> dict[PoolKey, int]:
    """Return the caps when the same claims were there for a time; other kinds have one accelerator each."""
    room = {claim.kind: capacity if claim.kind == "h100" else 100 for claim in claims}
    memory = plan_sharing(SharingMemory(), claims, room, SHARES, now_ms=0)
    return dict(plan_sharing(memory, claims, room, SHARES, now_ms=lasting_ms).caps)
