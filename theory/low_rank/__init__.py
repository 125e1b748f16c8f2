"""Exact ranks of attention matrices, buffers, outputs and pooled tokens."""
