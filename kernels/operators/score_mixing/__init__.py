"""Scores that are mixed, masked by a graph or followed by a network; one operator per file."""
