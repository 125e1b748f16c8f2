"""Attention, selective state space models and gated recurrences as one linear recurrence: equivalence, state, features, recall.

Source: Sieber, Amo Alonso, Didier, Zeilinger and Orvieto 2024.
"""
