"""Reduced losses and flows of abrupt in-context classification."""
