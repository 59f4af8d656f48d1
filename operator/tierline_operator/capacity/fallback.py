"""Two sources of signals: the second is asked for what the first cannot tell."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tierline.fleet.scaling.signals import Reading
from tierline_operator.capacity.book import FleetKey
from tierline_operator.capacity.sources import FleetPods, SignalSource, SourceSilent

log = logging.getLogger(__name__)


class FallbackSource:
    """Prefers `first`; each reading says whose it is. A drill's blackout hides the first source only."""

    def __init__(self, first: SignalSource, second: SignalSource) -> None:
        self._first = first
        self._second = second

    @property
    def name(self) -> str:
        """The source that is preferred."""
        return self._first.name

    async def read(self, fleets: Sequence[FleetPods], now_ms: int) -> Mapping[FleetKey, Reading]:
        """Return what either tells; raises `SourceSilent` when the first is silent and the second knows no fleet."""
        heard: Mapping[FleetKey, Reading] = {}
        silence: SourceSilent | None = None
        try:
            heard = await self._first.read(fleets, now_ms)
        except SourceSilent as silent:
            silence = silent
        missing = [replace(fleet, blacked_out=False) for fleet in fleets if fleet.key not in heard]
        told = await self._second.read(missing, now_ms) if missing else {}
        if silence is not None and missing and not told:
            raise SourceSilent(f"{silence}; the {self._second.name} do not answer either")
        return {**heard, **told}
