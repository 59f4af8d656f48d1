"""LoRA adapters (Hu et al., arXiv 2106.09685): reading, keeping in KV pages, and computing many in one batch."""
