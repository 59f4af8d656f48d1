"""What somebody declared of an object, without its status.

Nobody plans by what the API server let us write down ourselves, and of a fleet it takes twice as long to check as all
the rest, and more memory to keep.
"""

from typing import TypeVar

from tierline.api.meta import Resource
from tierline.api.parsing import parse
from tierline.fleet.observed import Manifest

R = TypeVar("R", bound=Resource)


def read_declared(model: type[R], live: Manifest) -> R:
    """Return the resource without its status; raises `InvalidResource` that lists every field to put right."""
    return parse(model, {name: part for name, part in live.items() if name != "status"})
