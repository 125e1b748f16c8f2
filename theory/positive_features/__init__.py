"""Laws and costs of positive random features."""
