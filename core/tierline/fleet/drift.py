"""Does a live object still say everything that was applied to it?

The comparison is one-sided: what the server or other controllers added is theirs. Lists that Kubernetes merges by
key are compared by key; every other list belongs to its applier as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tierline.api.names import GROUP
from tierline.fleet.observed import Manifest
from tierline.fleet.quantities import amount
from tierline.fleet.revision import revision_of

ANNOTATION_APPLIED = f"{GROUP}/applied"
"""Revision of the manifest last applied: tells a field that was taken out of it from one that somebody added."""

_MERGED_BY = {
    "containers": "name",
    "env": "name",
    "ports": "name",
    "volumes": "name",
    "volumeMounts": "name",
    "ownerReferences": "uid",
}
_SETS = frozenset({"finalizers"})
_QUANTITIES = frozenset({"limits", "requests"})


def stamped(manifest: Manifest) -> dict[str, Any]:
    """Return `manifest` with its own revision as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), ANNOTATION_APPLIED: revision_of(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def has_drifted(live: Manifest | None, wanted: Manifest) -> bool:
    """Say whether `wanted` has to be applied: `live` is missing or no longer says all of it."""
    return live is None or not _covers(live, wanted, field="")


def _covers(live: Any, wanted: Any, field: str) -> bool:
    if live == wanted:
        return True
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _covers(live.get(key), value, field if field in _QUANTITIES else key) for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live, Sequence) and _covers_list(live, wanted, field)
    if field in _QUANTITIES:
        return amount(live) is not None and amount(live) == amount(wanted)
    return False


def _covers_list(live: Sequence[Any], wanted: Sequence[Any], field: str) -> bool:
    if field in _SETS:
        return all(item in live for item in wanted)
    key = _MERGED_BY.get(field)
    if key is None or not all(isinstance(item, Mapping) and key in item for item in (*live, *wanted)):
        return len(live) == len(wanted) and all(
            _covers(mine, theirs, "") for mine, theirs in zip(live, wanted, strict=True)
        )
    by_key = {item[key]: item for item in live}
    return all(_covers(by_key.get(item[key]), item, "") for item in wanted)
