"""Changes to single logits: a batch's edits as flat indices, so that their cost does not grow with the vocabulary."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def flat_indices(rows: Ints, token_ids: Sequence[Ints], vocabulary: int) -> Ints:
    """Return where the tokens of each of `rows` lie in logits [rows, vocabulary] seen as one long row."""
    if not token_ids:
        return np.empty(0, np.int64)
    lengths = [len(ids) for ids in token_ids]
    return np.repeat(rows * vocabulary, lengths) + np.concatenate(token_ids)


def read(logits: torch.Tensor, flat: Ints) -> NDArray[np.float32]:
    """Return the logits at flat indices."""
    values: NDArray[np.float32] = logits.view(-1)[torch.from_numpy(flat).to(logits.device)].cpu().numpy()
    return values


def write(logits: torch.Tensor, flat: Ints, values: NDArray[np.float32]) -> None:
    """Replace the logits at flat indices, none of which may occur twice."""
    device = logits.device
    logits.view(-1)[torch.from_numpy(flat).to(device)] = torch.from_numpy(values).to(device)
