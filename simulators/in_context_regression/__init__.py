"""Softmax attention trained on in-context linear regression."""
