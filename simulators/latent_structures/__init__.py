"""Structures that are listed one by one, drawn, or read through noise; plans of Sinkhorn and belief propagation; iterations."""
