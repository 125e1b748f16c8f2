"""Ranks and counts that bound what an attention layer can memorise."""
