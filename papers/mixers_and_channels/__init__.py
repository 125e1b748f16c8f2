"""Attention-like mixers and channel gates: Fourier filters, large kernels, hyper-kernels, bands and cosines of channels.

Letters: b a threshold, r half width of a kernel, k taps of a band, w_l taps of the truth, A amplitude of a pattern.
"""
