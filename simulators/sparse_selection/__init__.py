"""Sparse selection as it comes: what is kept, hit and found in random scores, and identities of the operators themselves."""
