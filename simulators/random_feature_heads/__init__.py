"""Attention heads with random features: few heads, many heads, kernels and learning curves."""
