"""The worker's engine as a contestant of `tierline bench engine`: `python -m tierline_worker.bench`."""
