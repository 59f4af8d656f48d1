"""Room for a request whose adapter is not in the arena: a place among the residents, and blocks for its pages.

In this order: what is free, unused adapters, requests of lower priority; each only if it is enough together with what
comes before it, so that nothing makes room in vain. A place among the residents is had from lower priorities only when
all of an adapter's users may yield.
"""

from tierline.scheduling.memory.adapters import AdapterResidency
from tierline.scheduling.memory.blocks import MemoryManager
from tierline.scheduling.memory.preemption import Preemptor


class AdapterRoom:
    """Evicts adapters and parks their users, for who is to start and for decodes that need another block."""

    def __init__(self, adapters: AdapterResidency, memory: MemoryManager, preemptor: Preemptor) -> None:
        self.residency = adapters
        self._memory = memory
        self._preemptor = preemptor

    def guarantees(self, slot: int, kept_places: int) -> bool:
        """Say whether `slot` may start as far as adapters and guarantees go; evicts and parks for it where it must.

        `kept_places` are for requests before it that could not start yet.
        """
        adapters = self.residency
        if not adapters.make_place(slot, kept_places):
            self._preemptor.claim_group(slot, adapters.users())
            if not adapters.make_place(slot, kept_places):
                return False
        lacking = self._preemptor.lacking(slot, adapters.missing_pages(slot))
        if lacking <= 0:
            return True
        adapters.make_room(lacking, slot)
        return self._preemptor.lacking(slot, adapters.missing_pages(slot)) <= 0

    def claim(self, slot: int, needed: int) -> None:
        """See to it that `needed` blocks are free for `slot`, at once or when iterations in flight are committed."""
        missing = needed - self._memory.free
        unused = self.residency.unused_pages
        if missing > unused:
            self._preemptor.claim(slot, missing - unused)
        self.residency.make_room(needed - self._memory.free - self._memory.cooling, slot)

    def spare(self, blocks: int) -> None:
        """Let unused adapters give way to decodes that lack `blocks` blocks."""
        if self.residency.limit:
            self.residency.make_room(blocks - self._memory.cooling)
