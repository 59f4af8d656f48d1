"""What the stores keep of an object, so that thousands of pods fit into the operator's memory.

Who manages which field (`metadata.managedFields`) is left out: nobody here asks, and it can take as much memory as the
rest. What equals the same field of a similar object that is kept already is that object's: the workers of a pool differ
by name and node, those of two fleets by names in the same containers. Objects of a store are never written to.
"""

from typing import Any

from tierline.fleet.observed import Manifest


def slim(obj: Manifest, similar: Manifest | None) -> Manifest:
    """Return what is kept of an object; `similar` is one that is kept already, None when there is none."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    kept: Manifest = _sharing({**obj, "metadata": metadata}, similar)
    return kept


def _sharing(value: Any, similar: Any) -> Any:
    """Return an equal value made of parts of a similar one, as far as they are equal."""
    if value == similar:
        return similar
    if isinstance(value, dict) and isinstance(similar, dict):
        return {name: _sharing(it, similar.get(name)) for name, it in value.items()}
    if isinstance(value, list) and isinstance(similar, list):
        return [*map(_sharing, value, similar), *value[len(similar) :]]
    return value
