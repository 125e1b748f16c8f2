"""Attention to random subsets of keys: drawn, listed one by one, in blocks, and with unequal chances."""
