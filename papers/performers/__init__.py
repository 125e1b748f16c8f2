"""Performers: softmax's kernel by trigonometric, positive and hyperbolic random features, independent and orthogonal."""
