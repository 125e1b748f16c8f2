"""Linear, low-rank and bottleneck attention, second part: parabolas, mediators, latents, gates, slots, global queries.

Letters: n tokens, d width of a head, m mediators, L latents, T timescale, r slots, G a global query.
"""
