"""Mehta, Rangwala and Ramakrishnan 2019: multi-head pooling with rank-one scores, its identities, counts and limits.

Letters: T states h_t of width d, m heads, context c; head i scores (p_i^T c)(q_i^T h_t). The variant checked divides the scores
(after tanh) by their Euclidean norm over heads, and takes the mean state as context.
"""
