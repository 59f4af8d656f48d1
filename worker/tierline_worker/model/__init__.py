"""Models: reading checkpoints and the forward pass of the Llama architecture."""
