"""What the duration of a plan depends on, for the latency model."""

import numpy as np

from tierline.scheduling.latency import BatchFeatures
from tierline.scheduling.plans import BatchPlan


def batch_features(plan: BatchPlan) -> BatchFeatures:
    """Return what the duration of a plan depends on; a row that verifies drafts is a decode and its drafts.

    A chunk reads its context once, as a decode does: what is short and deep is slow for its context's sake.
    """
    decodes = plan.decodes + (int(np.count_nonzero(plan.drafts)) if len(plan.drafts) else 0)
    kv_read_tokens = float(np.add.reduce(plan.starts[:decodes])) + decodes
    if decodes == len(plan.slots) and not len(plan.drafts):
        return BatchFeatures(0.0, 0.0, float(decodes), kv_read_tokens, adapter_tokens=float(plan.adapter_tokens))
    drafts = float(plan.drafts.sum()) if len(plan.drafts) else 0.0
    starts, counts = plan.starts[decodes:], plan.counts[decodes:]
    return BatchFeatures(
        float(np.add.reduce(counts)),
        float(np.add.reduce(counts * (starts + counts / 2))),
        float(decodes),
        kv_read_tokens + float((starts + counts).sum()),
        drafts,
        drafts,
        adapter_tokens=float(plan.adapter_tokens),
    )
