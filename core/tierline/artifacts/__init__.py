"""Where a model's files come from: one `model.source` string, resolved to a local file or folder."""

from tierline.artifacts.adapters import AdapterSourceError, resolve_adapter
from tierline.artifacts.resolve import default_cache_dir, open_weights, resolve
from tierline.artifacts.source import ModelSourceError
from tierline.artifacts.weights_store import OpenedWeights, WeightsStore

__all__ = [
    "AdapterSourceError",
    "ModelSourceError",
    "OpenedWeights",
    "WeightsStore",
    "default_cache_dir",
    "open_weights",
    "resolve",
    "resolve_adapter",
]
