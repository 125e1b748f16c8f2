"""Reddy 2024: the abrupt emergence of in-context classification, and the induction head behind it.

Letters of the paper: N item-label pairs in the context, L labels, K classes, B burstiness, epsilon the noise within a class,
alpha_Z the exponent of the rank-frequency law; beta1, alpha, beta2 the numbers of the minimal circuit, xi its readout.
"""
