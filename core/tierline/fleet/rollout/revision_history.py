"""The revisions of a pool's workers as ControllerRevisions: what a change can be taken back to.

A revision is named by its content, so writing one twice is harmless, and one that is still needed is never another
one. The newest few that nobody needs any more are not kept: the spec in version control is the history for people.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tierline.api.names import LABEL_FLEET, LABEL_MANAGED_BY, LABEL_POOL, LABEL_REVISION, MANAGED_BY
from tierline.fleet.observed import Manifest, ObjectIdentity, ObservedPod, Reference
from tierline.fleet.rollout.steps import RolloutRecord
from tierline.fleet.worker_pod import owner_reference, template_revision

KIND = "ControllerRevision"


def revision_object(pool: ObjectIdentity, template: Manifest, number: int) -> dict[str, Any]:
    """Return the ControllerRevision that keeps `template`; `number` counts the pool's changes, as kubectl shows it."""
    revision, labels = template_revision(template), template["metadata"]["labels"]
    kept = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_FLEET: labels[LABEL_FLEET], LABEL_POOL: labels[LABEL_POOL]}
    return {
        "apiVersion": "apps/v1",
        "kind": KIND,
        "metadata": {
            "name": f"{pool.name}-{revision}",
            "namespace": pool.namespace,
            "labels": {**kept, LABEL_REVISION: revision},
            "ownerReferences": [owner_reference(pool)],
        },
        "revision": number,
        "data": {"template": template},
    }


def next_number(kept: Iterable[Manifest]) -> int:
    return 1 + max((int(obj.get("revision", 0)) for obj in kept), default=0)


def templates_of(kept: Iterable[Manifest]) -> Mapping[str, Manifest]:
    """Return the kept templates by revision; objects that hold none are somebody's mistake and left out."""
    found: dict[str, Manifest] = {}
    for obj in kept:
        template = (obj.get("data") or {}).get("template")
        revision = obj["metadata"].get("labels", {}).get(LABEL_REVISION, "")
        if template and template.get("metadata", {}).get("labels", {}).get(LABEL_REVISION) == revision:
            found[revision] = template
    return found


def forgotten(
    kept: Iterable[Manifest], record: RolloutRecord, wanted: str | None, pods: Iterable[ObservedPod]
) -> tuple[Reference, ...]:
    """Return the kept revisions that no pod bears and no change needs."""
    needed = {record.stable, record.target, record.rejected, wanted, *(pod.revision for pod in pods)}
    return tuple(
        Reference(KIND, obj["metadata"]["namespace"], obj["metadata"]["name"], obj["metadata"]["uid"])
        for obj in kept
        if obj["metadata"].get("labels", {}).get(LABEL_REVISION, "") not in needed
    )
