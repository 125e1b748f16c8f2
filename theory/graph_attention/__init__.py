"""Attention between the nodes of a graph: what static and dynamic heads can reach, counted and weighed."""
