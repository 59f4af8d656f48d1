"""Moments as Kubernetes writes them, to and from epoch milliseconds."""

from datetime import UTC, datetime


def epoch_ms(timestamp: str | None) -> int | None:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000) if timestamp else None


def rfc3339(moment_ms: int) -> str:
    """Return the moment in whole seconds, as the API server keeps it."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
