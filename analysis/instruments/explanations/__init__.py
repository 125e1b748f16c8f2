"""Attention and gradients as explanations of an output; one instrument per file."""
