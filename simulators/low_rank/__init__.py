"""Ranks of attention matrices, buffers and outputs; recall and pooling through them."""
