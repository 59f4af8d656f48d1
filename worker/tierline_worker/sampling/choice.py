"""One iteration's choices: edit the logits of the rows that ask for it, draw, report.

Order: log probabilities are taken first, then bias, penalties, min_tokens and grammar change the logits, then
temperature and limits shape what is drawn from (as vLLM has it). Nothing of a row depends on its company.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.wire.frames import TokenLogprobs
from tierline_worker.sampling.bias import add_bias
from tierline_worker.sampling.constraint import allow_only
from tierline_worker.sampling.draw import draw_tokens
from tierline_worker.sampling.edits import Ints
from tierline_worker.sampling.logprobs import report
from tierline_worker.sampling.minimum import forbid_ends
from tierline_worker.sampling.penalties import PenaltyRows, penalise
from tierline_worker.sampling.table import SamplingTable, Special


@dataclass(frozen=True, slots=True)
class Choice:
    """The new token of each row (int64 [rows]), and what is told of it for the rows that asked."""

    tokens: NDArray[np.int64]
    logprobs: Mapping[int, TokenLogprobs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _SpecialRow:
    """A row with edits or a report: its place in the logits, the request's ids before it, its request's wishes."""

    row: int
    token_ids: Ints
    special: Special

    @property
    def output(self) -> Ints:
        return self.token_ids[self.special.prompt_tokens :]


def choose(logits: torch.Tensor, table: SamplingTable, tokens: Ints, slots: Ints, positions: Ints) -> Choice:
    """Choose the token at `positions[i]` of slot `slots[i]` from row i of `logits` [rows, vocab] (float32).

    `tokens` [slots, length] holds each request's ids up to the position; a slot may occur more than once. `logits` are
    changed in place. Raises `GrammarError` when an answer cannot follow its grammar.
    """
    logits = logits.contiguous()
    special = [
        _SpecialRow(int(row), tokens[slots[row], : positions[row]], wishes)
        for row in table.special_rows(slots)
        if (wishes := table.special[slots[row]]) is not None
    ]
    reported = [one for one in special if one.special.sampling.logprobs is not None]
    distribution = torch.log_softmax(logits[_index(reported, logits)], dim=-1) if reported else None
    _edit(logits, special)
    chosen = draw_tokens(logits, table.draw_rows(slots, positions))
    return Choice(chosen, _reports(distribution, reported, chosen) if distribution is not None else {})


def _edit(logits: torch.Tensor, special: Sequence[_SpecialRow]) -> None:
    for edit, asking in (
        (_bias, [one for one in special if one.special.sampling.logit_bias]),
        (_penalise, [one for one in special if one.special.penalised]),
        (_hold_open, [one for one in special if len(one.output) < one.special.sampling.min_tokens]),
        (_constrain, [one for one in special if one.special.constraint is not None]),
    ):
        if asking:
            edit(logits, asking)


def _bias(logits: torch.Tensor, asking: list[_SpecialRow]) -> None:
    add_bias(logits, _rows(asking), [one.special.bias for one in asking])


def _penalise(logits: torch.Tensor, asking: list[_SpecialRow]) -> None:
    wishes = [one.special.sampling for one in asking]
    rows = PenaltyRows(
        rows=_rows(asking),
        prompts=[one.token_ids[: one.special.prompt_tokens] for one in asking],
        outputs=[one.output for one in asking],
        repetition=np.array([wish.repetition_penalty for wish in wishes], np.float32),
        frequency=np.array([wish.frequency_penalty for wish in wishes], np.float32),
        presence=np.array([wish.presence_penalty for wish in wishes], np.float32),
    )
    penalise(logits, rows)


def _hold_open(logits: torch.Tensor, asking: list[_SpecialRow]) -> None:
    forbid_ends(logits, _rows(asking), [one.special.ends for one in asking])


def _constrain(logits: torch.Tensor, asking: list[_SpecialRow]) -> None:
    constraints = [(one.special.constraint, one.output) for one in asking]
    allowed = [each.allowed(output, logits.shape[-1]) for each, output in constraints if each is not None]
    allow_only(logits, _rows(asking), allowed)


def _reports(
    distribution: torch.Tensor, reported: Sequence[_SpecialRow], chosen: NDArray[np.int64]
) -> dict[int, TokenLogprobs]:
    rows = _rows(reported)
    counts = [one.special.sampling.logprobs or 0 for one in reported]
    return dict(zip(rows.tolist(), report(distribution, chosen[rows], counts), strict=True))


def _rows(special: Sequence[_SpecialRow]) -> Ints:
    return np.array([one.row for one in special], np.int64)


def _index(special: Sequence[_SpecialRow], logits: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(_rows(special)).to(logits.device)
