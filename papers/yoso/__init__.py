"""YOSO: attention by Bernoulli sampling with hashes of random hyperplanes."""
