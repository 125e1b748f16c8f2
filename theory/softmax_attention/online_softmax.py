r"""Softmax attention in pieces, and the identities that let an implementation regroup it.

A piece is a set of keys with the log of its total weight ``l = log sum_i exp(x_i)`` and its output ``o`` (the mean of its
values). Linear attention has no such weight: its whole past is one matrix.
"""

from typing import Any

from attnlab.theory.array_functions import exp, log


def merged_log_weight(log_weight: Any, other_log_weight: Any) -> Any:
    r"""Log weight of two pieces together: ``log(exp(l) + exp(l'))``; finite while ``l' - l < 700``."""
    difference = other_log_weight - log_weight
    return log_weight + log(1 + exp(difference))


def merged_output(log_weight: Any, output: Any, other_log_weight: Any, other_output: Any) -> Any:
    r"""Output of two pieces together, from their log weights and outputs.

    .. math:: o_{12} = \frac{e^{l_1} o_1 + e^{l_2} o_2}{e^{l_1} + e^{l_2}} = o_1 + \sigma(l_2 - l_1) (o_2 - o_1).

    Merging is associative and commutative, so pieces can be processed in any order and grouping (Milakov and
    Gimelshein, arXiv 1805.02867, for the weights; Dao et al., arXiv 2205.14135, for outputs).
    """
    share = 1 / (1 + exp(log_weight - other_log_weight))
    return output + share * (other_output - output)
