"""Attention by hashing, drawn, summed in buckets and counted."""
