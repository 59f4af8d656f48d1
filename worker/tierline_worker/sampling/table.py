"""How each slot samples: parameters as arrays that plans index, and what only some requests have.

A batch in which no request is `special` never touches more than the arrays of temperature, limits and seed.
"""

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from tierline.wire.frames import Sampling
from tierline_worker.sampling.bias import Bias
from tierline_worker.sampling.constraint import Constraint
from tierline_worker.sampling.draw import DrawRows
from tierline_worker.sampling.edits import Ints
from tierline_worker.sampling.grammars import GrammarError, Grammars

_UINT64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Special:
    """What most requests have not. `ends` are the tokens that end the answer."""

    sampling: Sampling
    prompt_tokens: int
    ends: Ints
    bias: Bias
    constraint: Constraint | None

    @property
    def penalised(self) -> bool:
        sampling = self.sampling
        return bool(sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1.0)


class SamplingTable:
    """Persistent arrays of [slots]. Without `grammars` a request that asks for one fails."""

    def __init__(self, slots: int, eos_token_ids: tuple[int, ...], grammars: Grammars | None = None) -> None:
        self.special: list[Special | None] = [None] * slots
        self._is_special = np.zeros(slots, dtype=np.bool_)
        self._temperature = np.zeros(slots, dtype=np.float32)
        self._top_p = np.ones(slots, dtype=np.float32)
        self._top_k = np.zeros(slots, dtype=np.int64)
        self._min_p = np.zeros(slots, dtype=np.float32)
        self._seed = np.zeros(slots, dtype=np.uint64)
        self._stop: list[frozenset[int]] = [frozenset()] * slots
        self._eos = frozenset(eos_token_ids)
        self._grammars = grammars

    def load(self, slot: int, sampling: Sampling, prompt_tokens: int) -> None:
        """Fill a slot for a newly admitted request, whose output begins at `prompt_tokens`; begins its grammar."""
        self._temperature[slot] = sampling.temperature
        self._top_p[slot] = sampling.top_p
        self._top_k[slot] = sampling.top_k
        self._min_p[slot] = sampling.min_p
        self._seed[slot] = sampling.seed & _UINT64
        stop = frozenset(sampling.stop_token_ids)
        # What a grammar completed has nothing to go on with, so its end is the answer's.
        self._stop[slot] = stop if sampling.ignore_eos and sampling.grammar is None else stop | self._eos
        self.special[slot] = self._special_of(slot, sampling, prompt_tokens) if _is_special(sampling) else None
        self._is_special[slot] = self.special[slot] is not None

    def draw_rows(self, slots: Ints, positions: Ints) -> DrawRows:
        return DrawRows(
            self._temperature[slots],
            self._top_p[slots],
            self._top_k[slots],
            self._min_p[slots],
            self._seed[slots],
            positions,
        )

    def special_rows(self, slots: Ints) -> NDArray[np.intp]:
        """Return which rows of `slots` are special."""
        return np.flatnonzero(self._is_special[slots])

    def stops(self, slots: Ints, tokens: Ints) -> NDArray[np.bool_]:
        """Tell for each slot whether its new token ends it."""
        pairs = zip(slots.tolist(), tokens.tolist(), strict=True)
        return np.fromiter((token in self._stop[slot] for slot, token in pairs), dtype=np.bool_, count=len(slots))

    def _special_of(self, slot: int, sampling: Sampling, prompt_tokens: int) -> Special:
        ends = np.array(sorted(self._stop[slot]), np.int64)
        return Special(sampling, prompt_tokens, ends, Bias.of(sampling), self._constraint(sampling))

    def _constraint(self, sampling: Sampling) -> Constraint | None:
        if sampling.grammar is None:
            return None
        if self._grammars is not None:
            return Constraint(self._grammars.matcher(sampling.grammar))
        # It fails when its first token is chosen, which is when an error is laid to its request alone.
        missing: Future[LLMatcher] = Future()
        missing.set_exception(GrammarError("sampling.grammar: this executor was made without a tokenizer"))
        return Constraint(missing)


def _is_special(sampling: Sampling) -> bool:
    return bool(sampling.sequential or sampling.min_tokens or sampling.logit_bias or sampling.logprobs is not None)
