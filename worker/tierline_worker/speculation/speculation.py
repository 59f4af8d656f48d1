"""Speculation on the executor's side: lets drafts be proposed, and keeps the tokens and the KV of what was accepted."""

from collections.abc import Mapping

import numpy as np
import torch

from tierline.scheduling.plans import BatchPlan
from tierline_worker.kv_arena import KVArena
from tierline_worker.slots import SlotTable
from tierline_worker.speculation.drafter import Drafter
from tierline_worker.speculation.verification import Verified, Work, with_proposals


class Speculation:
    """A drafter and the arena whose KV it may rearrange; `branching` says that the attention follows trees."""

    def __init__(self, drafter: Drafter, arena: KVArena, *, branching: bool) -> None:
        self._drafter = drafter
        self._arena = arena
        self._branching = branching

    def forget(self, slot: int) -> None:
        """Note that `slot` holds another request from now on."""
        self._drafter.forget(slot)

    def propose(self, plan: BatchPlan, slots: SlotTable) -> Work:
        """Return what is computed of a plan that wants drafts."""
        return with_proposals(plan, self._drafter, slots.tokens, self._branching)

    def keep(self, work: Work, verified: Mapping[int, Verified], slots: SlotTable) -> None:
        """Write what the rows gave to their texts, and move accepted KV to the places of its positions."""
        moves: list[tuple[int, int, int]] = []
        for row, outcome in verified.items():
            slot, end = int(work.plan.slots[row]), work.certain_end(row)
            slots.tokens[slot, end : end + len(outcome.tokens)] = outcome.tokens
            moves += [(slot, end + source, end + target) for source, target in outcome.moves]
        if moves:
            slot_of, sources, targets = np.array(moves, np.int64).T
            positions = np.stack((sources, targets))
            blocks = slots.blocks[slot_of, positions // self._arena.block_tokens]
            self._arena.move_tokens(torch.from_numpy(blocks), torch.from_numpy(positions % self._arena.block_tokens))
