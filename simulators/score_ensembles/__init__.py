"""Controlled ensembles of queries and keys, and what approximations of softmax attention err on them."""
