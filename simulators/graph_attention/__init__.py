"""Attention between the nodes of a graph: which maps from queries to keys heads reach, by construction and by training."""
