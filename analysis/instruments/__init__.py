"""Instruments on attention maps and activations, each with its formula, its null, its limit and the world it must recover."""
