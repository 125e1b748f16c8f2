"""Attention to pairs of keys: polynomials for its weights with a sharp error, and a head that detects triples."""
