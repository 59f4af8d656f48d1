"""What a worker measures: stamped by the engine's thread without locks, read by a collector at a scrape."""

from tierline_worker.metrics.device import DeviceFacts
from tierline_worker.metrics.readings import LoadSample
from tierline_worker.metrics.recorder import WorkerMetrics

__all__ = ["DeviceFacts", "LoadSample", "WorkerMetrics"]
