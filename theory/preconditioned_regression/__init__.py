"""Regression by a preconditioned step of gradient descent on the context: what several subjects compare heads with."""
