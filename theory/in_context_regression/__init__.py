"""Risks, optima and training flows of softmax attention on in-context linear regression."""
