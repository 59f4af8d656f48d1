"""Where a model's files come from: one `model.source` string, resolved to a local file or folder."""

from tierline.artifacts.adapters import AdapterSourceError, resolve_adapter
from tierline.artifacts.resolve import default_cache_dir, resolve
from tierline.artifacts.source import ModelSourceError

__all__ = ["AdapterSourceError", "ModelSourceError", "default_cache_dir", "resolve", "resolve_adapter"]
