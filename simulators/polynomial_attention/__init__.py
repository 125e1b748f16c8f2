"""Attention to pairs of keys: dense, by polynomials, and as a detector of triples."""
