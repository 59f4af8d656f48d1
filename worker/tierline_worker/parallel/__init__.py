"""Tensor parallelism inside a pod: one model over several processes (Shoeybi et al., Megatron-LM, arXiv 1909.08053)."""
