"""A short name for the content of an object: equal content, equal revision."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def revision_of(content: Mapping[str, Any]) -> str:
    """Return ten hexadecimal digits that change when `content` does; the order of keys does not matter."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
