"""Qiao 2025: attention as associative (Pavlovian) memory, its capacity, plasticity rules, redundancy and depth.

Letters: n pairs of keys in R^d and values; t the overlap of two spherical keys; errors are mean squares per value entry. The
kernel and softmax memories follow the standard theory, as Ramsauer et al. 2021 state it for modern Hopfield networks.
"""
