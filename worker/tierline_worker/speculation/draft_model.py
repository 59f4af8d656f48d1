"""Proposes with a small model of the same vocabulary (Leviathan et al., ICML 2023).

It samples with the parameters and the keys of the target's request: the same uniform number goes through both inverse
distributions, so where these are close, so are the tokens (and greedy requests are drafted greedily). It has a KV arena
of its own. Texts that it has not followed, as a prompt's, are caught up with at most `CATCH_UP_TOKENS` an iteration;
until then there is no proposal.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.scheduling.plans import BatchPlan
from tierline_worker.attention.backend import AttentionBackend
from tierline_worker.batch import flatten
from tierline_worker.model.decoder import Decoder
from tierline_worker.speculation.draft_cache import DraftCache
from tierline_worker.speculation.drafter import DraftRows

CATCH_UP_TOKENS = 512

Choose = Callable[[torch.Tensor, NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""Draws tokens: from logits [n, vocab], for slots and positions [n], as the target's requests wish."""

_NO_UPDATES = np.empty((0, 3), np.int32)


class ModelDrafter:
    """A `Drafter` with a model."""

    def __init__(
        self, model: Decoder, attention: AttentionBackend, cache: DraftCache, block_tokens: int, choose: Choose
    ) -> None:
        self._model = model
        self._attention = attention
        self._cache = cache
        self._block_tokens = block_tokens
        self._choose = choose

    def forget(self, slot: int) -> None:
        """As `Drafter.forget`."""
        self._cache.forget(slot)

    def propose(self, rows: DraftRows) -> list[list[Sequence[int]]]:
        """As `Drafter.propose`: one continuation for each row that is caught up."""
        counts = self._due(rows)
        going = np.flatnonzero(counts)
        drafts: list[list[int]] = [[] for _ in rows.slots]
        if not len(going):
            return [[] for _ in drafts]
        logits = self._compute(rows.slots[going], counts[going])
        caught_up = self._cache.computed[rows.slots[going]] == rows.lengths[going]
        going, logits = going[caught_up], logits[torch.from_numpy(caught_up)]
        while len(going):
            slots = rows.slots[going]
            chosen = self._choose(logits, slots, self._cache.computed[slots])
            for row, token in zip(going.tolist(), chosen.tolist(), strict=True):
                drafts[row].append(token)
            more = np.array([len(drafts[row]) < rows.wanted[row] for row in going.tolist()])
            going = going[more]
            logits = self._extend(slots[more], chosen[more])
        return [[draft] if draft else [] for draft in drafts]

    def _due(self, rows: DraftRows) -> NDArray[np.int64]:
        """Return how many tokens of each text are computed now, 0 of those that must wait or do not fit."""
        cache, room = self._cache, CATCH_UP_TOKENS
        counts = np.zeros(len(rows.slots), np.int64)
        for row, slot in enumerate(rows.slots.tolist()):
            length, text = int(rows.lengths[row]), rows.text(row)
            longest = length + int(rows.wanted[row]) - 1
            if longest > cache.max_tokens or not cache.reserve(slot, longest, rows.slots):
                continue
            cache.follow(slot, text)
            computed = int(cache.computed[slot])
            counts[row] = count = min(length - computed, room)
            cache.fed[slot, computed : computed + count] = text[computed : computed + count]
            room -= count
        return counts

    def _extend(self, slots: NDArray[np.int64], tokens: NDArray[np.int64]) -> torch.Tensor:
        """Compute one token more of each slot; returns logits [slots, vocab]."""
        if not len(slots):
            return torch.empty(0)
        self._cache.fed[slots, self._cache.computed[slots]] = tokens
        return self._compute(slots, np.ones(len(slots), np.int64))

    def _compute(self, slots: NDArray[np.int64], counts: NDArray[np.int64]) -> torch.Tensor:
        """Compute the next `counts` fed tokens of each slot; returns the logits [slots, vocab] of their last ones."""
        cache, order = self._cache, np.argsort(counts > 1, kind="stable")
        plan = BatchPlan(
            iteration=0,
            slots=slots[order].astype(np.int32),
            starts=cache.computed[slots[order]].astype(np.int32),
            counts=counts[order].astype(np.int32),
            samples=np.ones(len(slots), np.bool_),
            block_updates=_NO_UPDATES,
            decodes=int(np.count_nonzero(counts == 1)),
        )
        batch = flatten(plan, cache.tables, self._block_tokens)
        device = self._model.embedding.device
        logits = self._model.forward(
            torch.from_numpy(cache.fed[batch.slots, batch.positions]).to(device),
            torch.from_numpy(batch.positions).to(device),
            self._attention.prepare(batch),
            torch.from_numpy(batch.last).to(device),
        )
        cache.computed[slots] += counts
        # On the host they are drawn from as the target's are.
        return logits.cpu()[torch.from_numpy(np.argsort(order))]
