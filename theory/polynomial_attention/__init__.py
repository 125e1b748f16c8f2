"""Laws and costs of attention by polynomials of the scores."""
