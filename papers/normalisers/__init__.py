"""Normalisers beyond softmax: sums, zeros, sizes, idle heads, gradients and blockwise forms of seven score maps."""
