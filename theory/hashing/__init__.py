"""Laws and costs of attention by hashing."""
