"""Positions and geometry inside attention: offsets, frequencies, windows, group elements, spheres; one operator per file."""
