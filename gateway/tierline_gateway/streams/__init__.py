"""Requests from admission to their end: dispatched, journalled, moved and accounted."""
