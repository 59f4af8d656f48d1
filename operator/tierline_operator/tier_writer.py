"""Who writes a tier's status where several installs share the cluster: the one whose name stands in it.

Tiers belong to the whole cluster, so each install has an opinion on each of them, and installs of different versions
may not agree. The first to write puts its name there, and the others leave the status alone. No clock of another
machine is looked at: another takes over when it has itself seen the status stay behind the spec for `BEHIND_MS`, or
stay different from its own opinion for `DIFFERENT_MS`. So a writer that was uninstalled is replaced, and two that live
and differ write once in that time at most.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tierline.fleet.observed import Manifest

BEHIND_MS = 60_000
DIFFERENT_MS = 3_600_000


@dataclass(slots=True)
class TierWriter:
    """One install's part in writing tiers; `name` is the install's, the same for all its replicas."""

    name: str
    _waiting: dict[str, tuple[int, int]] = field(default_factory=dict)

    def signed(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return a status with our name in it."""
        return {**status, "writer": self.name}

    def may_write(self, live: Manifest, status: Mapping[str, Any], now_ms: int) -> bool:
        """Say whether the status is ours to write now."""
        metadata, standing = live["metadata"], live.get("status", {})
        ours = bool(standing.get("writer", self.name) == self.name)
        if ours or _meaning(standing) == _meaning(status):
            self._waiting.pop(metadata["uid"], None)
            return ours
        generation = int(metadata.get("generation", 1))
        since_generation, since_ms = self._waiting.get(metadata["uid"], (-1, 0))
        if since_generation != generation:
            since_ms = now_ms
            self._waiting[metadata["uid"]] = (generation, now_ms)
        return now_ms - since_ms >= _patience_ms(live)

    def due_ms(self, tiers: Iterable[Manifest], now_ms: int) -> int | None:
        """Return when one of the tiers may have to be taken over, in milliseconds from now; forgets other tiers."""
        known = {live["metadata"]["uid"]: live for live in tiers}
        self._waiting = {uid: it for uid, it in self._waiting.items() if uid in known}
        times = [since + _patience_ms(known[uid]) - now_ms for uid, (_, since) in self._waiting.items()]
        return max(0, min(times)) if times else None


def _patience_ms(live: Manifest) -> int:
    observed = int(live.get("status", {}).get("observedGeneration", 0))
    return BEHIND_MS if observed < int(live["metadata"].get("generation", 1)) else DIFFERENT_MS


def _meaning(status: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    said = status.get("conditions", ())
    return sorted(
        (it["type"], it["status"], it["reason"], it.get("message", ""), it.get("observedGeneration")) for it in said
    )
