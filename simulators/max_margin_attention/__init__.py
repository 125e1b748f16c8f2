"""Attention trained to select one token: directions, paths and margins of its weights."""
