"""What the stores keep of an object, so that thousands of pods fit into the operator's memory.

Who manages which field (`metadata.managedFields`) is left out: nobody here asks, and it can take as much memory as the
rest. Parts of a spec that equal those of a sibling, another object of the same owner, are the sibling's: the workers of
a pool differ by name and node, and have their containers in common. Objects of a store are never written to.
"""

from tierline.fleet.observed import Manifest


def slim(obj: Manifest, sibling: Manifest | None) -> Manifest:
    """Return what is kept of an object; `sibling` is one that is kept already, None when there is none."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if sibling is None or "spec" not in obj:
        return {**obj, "metadata": metadata}
    alike = sibling.get("spec", {})
    spec = {
        name: alike[name] if name in alike and alike[name] == value else value for name, value in obj["spec"].items()
    }
    return {**obj, "metadata": metadata, "spec": spec}
