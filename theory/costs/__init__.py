"""Cost models of kernels and systems; one design a file."""
