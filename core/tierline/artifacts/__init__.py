"""Where a model's files come from: one `model.source` string, resolved to a local file or folder."""

from tierline.artifacts.resolve import default_cache_dir, resolve
from tierline.artifacts.source import ModelSourceError

__all__ = ["ModelSourceError", "default_cache_dir", "resolve"]
