"""Heads combined and shared: pooled groups, borrowed maps, absorbed projections, mixtures of heads.

Letters: H heads, c_h amplitudes, e noise, r a correlation, s the spread of scores, K active heads, m heads per key.
"""
