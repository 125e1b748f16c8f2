"""Rows of weights of every score map on random scores, heads that should do nothing, gradients and blockwise forms."""
