"""Positions and geometry: tables of offsets, disentangled scores, waves, alternating layers, frames, spheres, clouds.

Letters: m reach of a table, b bonus of a score, L trained length, w window, g an element of a group, kappa concentration.
"""
