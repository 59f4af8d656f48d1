"""What the planning loop remembers of a fleet from one look to the next."""

from collections import deque
from dataclasses import dataclass, field

from tierline.fleet.scaling.load import FleetLoad
from tierline.fleet.scaling.planner import ScalingMemory
from tierline.fleet.scaling.signals import Reading


@dataclass(slots=True)
class FleetPast:
    """What is remembered of a fleet between looks; its readings are all from one `source`."""

    readings: deque[Reading] = field(default_factory=deque)
    memory: ScalingMemory = field(default_factory=ScalingMemory)
    load: FleetLoad | None = None
    source: str = ""
    heard_ms: int | None = None
    since_ms: int = 0
