"""Paged attention: the interface and its CPU implementation."""
