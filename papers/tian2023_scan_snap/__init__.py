"""Tian, Wang, Chen and Du 2023: attention scans the distinct tokens, then snaps, while a linear decoder learns.

Letters of the paper: K classes of sequences (next tokens), M output ids, Y the decoder's and Z the attention's pairwise logits
with learning rates eta_Y and eta_Z, c_n the attention over token types in class n, f_n = c_n / |c_n|. A *distinct* token occurs
in one class only, a *common* token in several. Time t counts steps of gradient descent.
"""
