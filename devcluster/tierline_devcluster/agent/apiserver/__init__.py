"""Talking to the API server: requests, watches, tokens and events."""
