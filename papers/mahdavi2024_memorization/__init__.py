"""Mahdavi, Liao and Thrampoulidis 2024: how many examples one multi-head attention layer memorises.

Letters of the paper: T examples, n context tokens, width d, H heads of width d_h, r = min(n, d_h), features Z (T, H d).
"""
