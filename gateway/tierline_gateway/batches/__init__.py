"""OpenAI's Batch API: files of requests, answered in a tier that can wait, and files of their answers."""
