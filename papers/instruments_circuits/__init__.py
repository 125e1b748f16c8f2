"""Instruments for circuits on planted models: paths, windows, lenses, chance overlaps and chance codes."""
