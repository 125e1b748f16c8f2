"""SOFT: attention by a Gaussian kernel, landmarks, and Newton's inverse."""
