"""Capacity and error laws of associative memories, rule by rule."""
