"""Mixers and channel gates: what they see, what they leave unseen, and what they cost; one operator per file."""
