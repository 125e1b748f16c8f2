"""Scores of attention at random initialisation."""
