"""Attention by polynomials of the scores; one file per operator of the atlas."""
