"""Normalisers, second part: differences of maps, reversed attention, transport plans, bell gates.

Letters: K ratio of gains, rho correlation of noises, D margin of a parent, s spread, T a plan, C width of a bell.
"""
