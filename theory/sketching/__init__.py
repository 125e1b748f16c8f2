"""Laws and costs of projections and landmarks of tokens."""
