"""Attention over distinct and common tokens in training: scanning, snapping, decoding."""
