"""Tool calls: how models are told of functions, how they write calls, and how those are read while they come."""
