"""Selective self-attention: temperatures that depend on query and position, gates on values, and what they buy."""
