"""Exact risks, training flows and learning curves of linear attention in context."""
