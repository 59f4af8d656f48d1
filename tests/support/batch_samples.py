"""Batches for tests."""

from tierline_gateway.batches.batch import Batch


def new_batch(**changes: object) -> Batch:
    """Return a batch that was just made, with some fields changed."""
    fields: dict[str, object] = {
        "id": "batch_1",
        "tenant": "acme",
        "endpoint": "/v1/completions",
        "input_file_id": "file-1",
        "tier": "batch",
        "window": "24h",
        "created_s": 100.0,
        "expires_s": 200.0,
        "kept_seconds": 3600.0,
    }
    return Batch(**(fields | changes))  # type: ignore[arg-type]
