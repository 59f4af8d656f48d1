"""Logit bias: what a client adds to the logits of tokens that it names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.wire.frames import Sampling
from tierline_worker.sampling.edits import Ints, flat_indices, read, write


@dataclass(frozen=True, slots=True)
class Bias:
    """One request's bias as arrays: `token_ids` int64 [n], each once, `added` float32 [n]."""

    token_ids: Ints
    added: NDArray[np.float32]

    @staticmethod
    def of(sampling: Sampling) -> "Bias":
        """Return the request's bias; the last word on a token counts."""
        pairs = dict(sampling.logit_bias)
        return Bias(np.fromiter(pairs.keys(), np.int64), np.fromiter(pairs.values(), np.float32))


def add_bias(logits: torch.Tensor, rows: Ints, biases: Sequence[Bias]) -> None:
    """Add each row's bias to `logits` [rows, vocab] (float32) in place."""
    flat = flat_indices(rows, [bias.token_ids for bias in biases], logits.shape[-1])
    write(logits, flat, read(logits, flat) + np.concatenate([bias.added for bias in biases]))
