"""Kernels, spectra and learning curves of attention with random features."""
