"""Log probabilities of chosen tokens and of the most probable ones.

They are of the model's own distribution, the log softmax of its logits before temperature, bias, penalties and masks:
what OpenAI's field means and vLLM's default ("raw_logprobs") is. So they can be compared between requests that sample
differently, and are finite.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.wire.frames import TokenLogprobs


def report(logprobs: torch.Tensor, chosen: NDArray[np.int64], counts: Sequence[int]) -> list[TokenLogprobs]:
    """Return what is told of each row of `logprobs` [rows, vocab]: its token `chosen` and its `counts` best ones."""
    index = torch.from_numpy(chosen).to(logprobs.device)
    own = logprobs.gather(1, index[:, None])[:, 0].tolist()
    values, tokens = logprobs.topk(max(counts), dim=-1)
    rows = zip(own, tokens.tolist(), values.tolist(), counts, strict=True)
    return [TokenLogprobs(each, tuple(zip(ids[:count], top[:count], strict=True))) for each, ids, top, count in rows]
