"""Who decodes in an iteration when all together would break the tightest time per token among them.

    urgency = iterations since its last token * tightest budget / own budget
    rows    = those with urgency >= 1, then by urgency as long as   a + d*rows + e*KV <= tightest / (1 + margin)

A request of the tightest budget decodes in every iteration; one that may take k times as long need decode in one of k.
Where prompts wait, a part of the iteration is left to them. So a flood of a tier with a loose budget neither slows the
tokens of a tight one nor loses its own promise, as long as both together can be kept at all.

Inputs: rows that could decode, their budgets and contexts, and the latency model. Bounds: no row waits longer than its
own budget, counted in iterations of the tightest one; where all rows have one budget, or fit, nothing changes. When not
to use it: an iteration's fixed cost is paid more often, so it is throughput that pays for the tight tier. That fair
counters alone do not keep a neighbour's time per token is known from VTC (OSDI 2024); pacing by budgets follows the
idea of SLOs-Serve (arXiv 2504.08784), which gives each class of decodes its tokens before prompts are planned.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.slots import SlotTable

PROMPTS_SHARE: Final = 0.2
"""So much of an iteration is left to prompts that wait."""


def paced(
    slots: SlotTable, rows: NDArray[np.int64], latency: LatencyModel, iteration: int, *, prompts: bool
) -> NDArray[np.int64]:
    """Return those of `rows` that decode in `iteration`; `prompts` says that prompts wait for a part of it."""
    if not len(rows):
        return rows
    budgets_ms = slots.tpot_ms[rows]
    tightest_ms = float(np.minimum.reduce(budgets_ms))
    if tightest_ms == float(np.maximum.reduce(budgets_ms)):
        return rows
    costs, computed = latency.coefficients, slots.computed[rows]
    share = 1 - PROMPTS_SHARE if prompts else 1.0
    room_ms = share * tightest_ms / (1 + latency.margin) - costs.iteration_ms
    if costs.decode_ms * len(rows) + costs.kv_token_ms * (int(np.add.reduce(computed)) + len(rows)) <= room_ms:
        return rows
    costs_ms = costs.decode_ms + costs.kv_token_ms * (computed + 1)
    urgency = (iteration - slots.last_planned[rows]) * tightest_ms / budgets_ms
    order = np.argsort(-urgency, kind="stable")
    chosen = (urgency[order] >= 1) | (np.cumsum(costs_ms[order]) <= room_ms)
    return rows[np.sort(order[chosen])]
