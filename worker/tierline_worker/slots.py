"""What the executor keeps per slot: token ids, blocks and sampling parameters, as arrays that plans index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline.wire.credits import blocks_for
from tierline.wire.frames import Sampling
from tierline_worker.sampling.grammars import Grammars
from tierline_worker.sampling.table import SamplingTable


@dataclass(frozen=True, slots=True)
class SlotLoad:
    """A request's known tokens (prompt and what was emitted), how to sample, and with which adapter ("" is none).

    The last `emitted_tokens` of `token_ids` are of the answer.
    """

    slot: int
    token_ids: list[int]
    sampling: Sampling
    adapter: str = ""
    emitted_tokens: int = 0


class SlotTable:
    """Persistent arrays of [slots, ...]; `tokens[slot, position]` is the truth about a request's text."""

    def __init__(
        self,
        slots: int,
        max_model_tokens: int,
        block_tokens: int,
        eos_token_ids: tuple[int, ...],
        grammars: Grammars | None = None,
    ) -> None:
        self.tokens = np.zeros((slots, max_model_tokens + 1), dtype=np.int64)
        self.blocks = np.zeros((slots, blocks_for(max_model_tokens, block_tokens)), dtype=np.int64)
        self.sampling = SamplingTable(slots, eos_token_ids, grammars)
        self._adapter = [""] * slots

    def load(self, load: SlotLoad) -> None:
        """Fill a slot for a newly admitted request."""
        self.tokens[load.slot, : len(load.token_ids)] = load.token_ids
        self.sampling.load(load.slot, load.sampling, len(load.token_ids) - load.emitted_tokens)
        self._adapter[load.slot] = load.adapter

    def update_blocks(self, plan: BatchPlan) -> None:
        slots, indices, blocks = plan.block_updates.T
        self.blocks[slots, indices] = blocks

    def adapters(self, slots: NDArray[np.int32]) -> list[str]:
        """Return each slot's adapter."""
        return [self._adapter[slot] for slot in slots.tolist()]
