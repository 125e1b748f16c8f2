"""Instruments for attention maps on planted maps: entropies, distances, patterns, trees, alignment, contrasts and votes."""
