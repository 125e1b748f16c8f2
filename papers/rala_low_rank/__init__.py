"""Fan, Huang and He 2025: the rank of linear attention, and what weighting the buffer and gating the output do to it.

Letters of the paper: N tokens, key width d_k, value width d_v, buffer B = sum_j alpha_j kappa(k_j)^T v_j, gate phi(X). Exact
ranks are computed on integer matrices; "effective rank" is the exponential of the entropy of the normalised singular values.
"""
