"""Recall of key-value pairs from sums, error-correcting rules and softmax memories."""
