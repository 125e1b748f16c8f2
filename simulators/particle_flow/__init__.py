"""Transformers as splitting schemes of interacting particles: errors, stacks, identities."""
