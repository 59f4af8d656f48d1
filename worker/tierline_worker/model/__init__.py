"""Models: reading checkpoints and the forward pass of decoder-only transformers."""
