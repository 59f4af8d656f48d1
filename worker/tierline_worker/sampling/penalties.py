"""Penalties for what was said: tokens that occurred lose in probability.

Repetition r (1 is none) divides a positive logit by r and multiplies a negative one, for tokens of prompt and output
(Keskar et al., CTRL, 2019). Frequency f and presence p (0 is none) then take f · count + p · (count > 0) off, where
count is over the output only, as OpenAI and vLLM define them.

Counted anew from the request's token ids at each position, so nothing has to move or roll back with a request: a
thousand tokens of context cost some ten microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.sampling.edits import Ints, flat_indices, read, write


@dataclass(frozen=True, slots=True)
class PenaltyRows:
    """Rows of the logits to penalise, each of shape [n], with the ids of their prompts and outputs."""

    rows: Ints
    prompts: Sequence[Ints]
    outputs: Sequence[Ints]
    repetition: NDArray[np.float32]
    frequency: NDArray[np.float32]
    presence: NDArray[np.float32]


def penalise(logits: torch.Tensor, penalties: PenaltyRows) -> None:
    """Change `logits` [rows, vocab] (float32) in place."""
    vocabulary = logits.shape[-1]
    prompts = flat_indices(penalties.rows, penalties.prompts, vocabulary)
    outputs = flat_indices(penalties.rows, penalties.outputs, vocabulary)
    flat, inverse = np.unique(np.concatenate((prompts, outputs)), return_inverse=True)
    count = np.bincount(inverse[len(prompts) :], minlength=len(flat)).astype(np.float32)
    each = np.searchsorted(penalties.rows, flat // vocabulary)
    values, repetition = read(logits, flat), penalties.repetition[each]
    values = np.where(values > 0, values / repetition, values * repetition)
    values -= penalties.frequency[each] * count + penalties.presence[each] * (count > 0)
    write(logits, flat, values)
