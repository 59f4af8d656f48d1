"""Chooses tokens from hand-made logits, and says in plain float64 numpy what each step of sampling has to do."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from tierline.wire.frames import Sampling
from tierline_worker.sampling.choice import Choice, choose
from tierline_worker.sampling.grammars import Grammars
from tierline_worker.slots import SlotLoad, SlotTable


def choose_with(
    logits: torch.Tensor,
    samplings: Sequence[Sampling],
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    *,
    eos: tuple[int, ...] = (),
    grammars: Grammars | None = None,
) -> Choice:
    """Choose one token for each request; row i of `logits` is that of request i. `logits` show the edits after."""
    longest = max(len(prompt) + len(output) for prompt, output in zip(prompts, outputs, strict=True))
    table = SlotTable(len(samplings), longest + 1, 4, eos, grammars)
    for slot, (sampling, prompt, output) in enumerate(zip(samplings, prompts, outputs, strict=True)):
        table.load(SlotLoad(slot, [*prompt, *output], sampling, emitted_tokens=len(output)))
    positions = np.array([len(prompt) + len(output) for prompt, output in zip(prompts, outputs, strict=True)])
    return choose(logits, table.sampling, table.tokens, np.arange(len(samplings)), positions)


def penalised(logits: np.ndarray, prompt: Sequence[int], output: Sequence[int], sampling: Sampling) -> np.ndarray:
    """The penalties of one row, token by token."""
    result = logits.astype(np.float64)
    for token in set(prompt) | set(output):
        seen = result[token]
        result[token] = seen / sampling.repetition_penalty if seen > 0 else seen * sampling.repetition_penalty
    for token in set(output):
        result[token] -= sampling.frequency_penalty * list(output).count(token) + sampling.presence_penalty
    return result


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """What one row is drawn from: min-p, then top-k, then top-p of what they leave."""
    scaled = logits.astype(np.float64) / sampling.temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    kept = [token for token in order if shares[token] >= sampling.min_p * shares.max()]
    kept = kept[: sampling.top_k] if sampling.top_k else kept
    mass, reached, nucleus = sum(shares[token] for token in kept), 0.0, []
    for token in kept:
        if sampling.top_p < 1 and reached >= sampling.top_p * mass:
            break
        nucleus.append(token)
        reached += shares[token]
    result = np.zeros_like(shares)
    result[nucleus] = shares[nucleus]
    return result / result.sum()


def chi_square_p(seen: np.ndarray, expected: np.ndarray) -> float:
    """How probable a deviation this large from the expected counts is (Wilson and Hilferty's approximation)."""
    freedom = len(seen) - 1
    statistic = float(((seen - expected) ** 2 / expected).sum())
    spread = 2 / (9 * freedom)
    return 0.5 * math.erfc(((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(2 * spread))
