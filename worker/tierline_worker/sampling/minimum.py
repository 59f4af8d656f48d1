"""min_tokens: an answer that is still too short cannot end."""

from collections.abc import Sequence

import numpy as np
import torch

from tierline_worker.sampling.edits import Ints, flat_indices, write


def forbid_ends(logits: torch.Tensor, rows: Ints, ends: Sequence[Ints]) -> None:
    """Exclude the tokens that end each of `rows` from `logits` [rows, vocab] (float32), in place."""
    vocabulary = logits.shape[-1]
    # A client may name stop tokens that the model does not have.
    flat = flat_indices(rows, [ids[ids < vocabulary] for ids in ends], vocabulary)
    write(logits, flat, np.full(len(flat), -np.inf, np.float32))
