"""Whether a request is taken in: predictions, quotas, prices."""
