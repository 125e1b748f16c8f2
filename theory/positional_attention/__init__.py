"""Positions and geometry: dilution, extrapolation, invariance and quadrature of positional operators; one per file."""
