"""An answer's grammar at work: which tokens may come next."""

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch
from llguidance import LLMatcher
from numpy.typing import NDArray

from tierline_worker.sampling.edits import Ints
from tierline_worker.sampling.grammars import GrammarError

_WORD_BITS = 32


class Constraint:
    """One request's matcher; it follows the request's token ids, so it is right after a move and in a repeated step."""

    def __init__(self, matcher: Future[LLMatcher]) -> None:
        self._matcher = matcher
        self._taken = 0

    def allowed(self, output: Ints, vocabulary: int) -> NDArray[np.bool_]:
        """Return which tokens may follow `output`, the answer's ids so far; bool [vocabulary].

        Raises `GrammarError` when the answer does not follow the grammar, or that is too complex here.
        """
        matcher = self._matcher.result()
        if len(output) < self._taken:
            matcher.rollback(self._taken - len(output))
        else:
            matcher.consume_tokens(output[self._taken :].tolist())
        self._taken = len(output)
        words = np.zeros(-(-vocabulary // _WORD_BITS), np.int32)
        matcher.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
        if matcher.is_error():
            raise GrammarError(f"the answer cannot follow sampling.grammar: {matcher.get_error()}")
        return np.unpackbits(words.view(np.uint8), count=vocabulary, bitorder="little").astype(np.bool_)


def allow_only(logits: torch.Tensor, rows: Ints, allowed: Sequence[NDArray[np.bool_]]) -> None:
    """Exclude from `rows` of `logits` [rows, vocab] (float32) what their grammars do not allow, in place.

    Where the grammar leaves only what min_tokens excluded before, the answer is complete and the grammar counts.
    """
    index = torch.from_numpy(rows).to(logits.device)
    open_to = torch.from_numpy(np.stack(allowed)).to(logits.device)
    kept = torch.where(open_to, logits[index], -torch.inf)
    complete = kept.amax(-1, keepdim=True) == -torch.inf
    logits[index] = torch.where(complete & open_to, 0.0, kept)
