"""Random calls of attention() against an oracle of their own: ``python tests/kernels/attention/fuzz --cases 20000``."""
