"""Stiffness indices, orbits and Euler steps."""
