"""Attention with one of its principles taken away per layer: mixing, dependence on the input, exact form, current layer."""
