"""Tarzanagh, Li, Thrampoulidis, Oymak (and Zhang) 2023: attention as a support vector machine that selects tokens.

Letters of the papers: n inputs of T tokens in d dimensions, gamma the scores of tokens, alpha the selected ones, A_it =
(x_{i alpha_i} - x_it) z_i^T, W_alpha and W*_alpha the solutions of the Frobenius and the nuclear norm.
"""
