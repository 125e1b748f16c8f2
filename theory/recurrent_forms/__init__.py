"""Attention, selective state space models and gated recurrences as one linear recurrence: what makes two of them the same."""
