"""Pooled, shared, absorbed and mixed heads on planted projections and generic tokens: what is measured of their operators."""
