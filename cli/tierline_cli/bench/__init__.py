"""`tierline bench engine`: the worker's engine beside its peers, case by case."""
