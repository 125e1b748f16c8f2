"""Attention over source and target in one softmax: masses, derivatives with respect to the source, and flow through layers."""
