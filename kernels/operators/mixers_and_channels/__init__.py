"""Mixers without queries and keys, and gates of channels; one operator per file."""
