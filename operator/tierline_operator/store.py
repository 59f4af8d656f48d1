"""All objects of one kind as the API server last told of them: the truth that plans are made from.

Three sources feed it. A list tells everything: what vanished during a gap in the watch is not in it and vanishes here
too. Watch events follow, and the answers to our own writes are noted at once, so that a plan never repeats a write that
it has just made. Older news never overwrites newer: versions are compared. What is kept of an object: `slimming`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from typing import Any

from tierline.api.names import LABEL_COMPONENT
from tierline_operator.slimming import slim

Object = Mapping[str, Any]
Key = tuple[str, str]
Changed = Callable[[Object | None, Object | None], None]

DELETED_UIDS_KEPT = 10_000


class Store:
    """One kind's objects by namespace and name. `changed` is told of every change: what was there and what is."""

    def __init__(self, changed: Changed = lambda _before, _now: None) -> None:
        self._objects: dict[Key, Object] = {}
        self._by_owner: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._examples: dict[str | None, Object] = {}
        self._deleted: dict[str, int] = {}
        self._changed = changed

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get((namespace, name))

    def owned_by(self, uid: str) -> tuple[Object, ...]:
        """Return the objects that name `uid` as an owner."""
        return tuple(self._by_owner.get(uid, {}).values())

    def all(self, namespace: str | None = None) -> tuple[Object, ...]:
        return tuple(obj for key, obj in self._objects.items() if namespace in {None, key[0]})

    def keep_only(self, listed: Set[Key], version: str, namespace: str | None = None) -> None:
        """Drop what a list of this version did not have, unless it is newer."""
        for key, held in list(self._objects.items()):
            if namespace in {None, key[0]} and key not in listed and _version(held) <= int(version):
                self._drop(key)

    def note(self, obj: Object) -> Key:
        """Take over one object unless a newer state of it, or its end, is known; returns where it is kept."""
        key, uid = _key(obj), obj["metadata"]["uid"]
        held = self._objects.get(key)
        known = max(self._deleted.get(uid, -1), _version(held) if held is not None else -1)
        if _version(obj) <= known:
            return key
        self._unlink(key)
        component = obj["metadata"].get("labels", {}).get(LABEL_COMPONENT)
        kept = slim(obj, self._sibling(obj) or self._examples.get(component))
        self._objects[key] = self._examples[component] = kept
        for owner in _owners(kept):
            self._by_owner[owner][key] = kept
        self._changed(held, kept)
        return key

    def forget(self, obj: Object) -> None:
        """Remove an object that is gone, or out of our selector; news from before that is ignored."""
        uid = obj["metadata"]["uid"]
        self._deleted[uid] = _version(obj)
        if len(self._deleted) > DELETED_UIDS_KEPT:
            self._deleted.pop(next(iter(self._deleted)))
        held = self._objects.get(_key(obj))
        if held is not None and held["metadata"]["uid"] == uid:
            self._drop(_key(obj))

    def _sibling(self, obj: Object) -> Object | None:
        siblings = (next(iter(self._by_owner[it].values())) for it in _owners(obj) if it in self._by_owner)
        return next(siblings, None)

    def _drop(self, key: Key) -> None:
        held = self._objects[key]
        self._unlink(key)
        self._changed(held, None)

    def _unlink(self, key: Key) -> None:
        held = self._objects.pop(key, None)
        for owner in _owners(held) if held is not None else ():
            self._by_owner[owner].pop(key, None)
            if not self._by_owner[owner]:
                del self._by_owner[owner]


def _key(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _owners(obj: Object) -> tuple[str, ...]:
    return tuple(it["uid"] for it in obj["metadata"].get("ownerReferences", ()))
