"""What the levels use: sampling, search, covers, certification, proofs, exact forms."""
