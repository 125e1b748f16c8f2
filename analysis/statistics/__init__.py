"""Intervals and confidence sequences."""
