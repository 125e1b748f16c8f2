"""HyperAttention: sorted hashes for heavy entries, sampled keys for the rest, and the numbers that say how hard a map is."""
