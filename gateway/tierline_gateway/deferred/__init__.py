"""Answers that come later: tickets for single requests, and OpenAI's files and batches."""
