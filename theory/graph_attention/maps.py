r"""Which maps from n nodes to n nodes a head reaches, "reaches" meaning that every query's largest score is at its assigned
key.

Brody, Alon and Yahav 2022 (arXiv 2105.14491) define dynamic attention by the set of maps; the counts are derived here. GAT
reaches the n constant maps, GATv2 all n^n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from attnlab.theory.checks import check_count


def static_maps_exact(n_nodes: int) -> int:
    """Maps of a static head: the n constant ones."""
    check_count(n_nodes=n_nodes)
    return n_nodes


def dynamic_maps_exact(n_nodes: int) -> int:
    """All maps, n^n."""
    check_count(n_nodes=n_nodes)
    return n_nodes**n_nodes


def dot_product_reaches(mapping: Sequence[int], dependency: np.ndarray) -> bool:
    r"""Whether :math:`e_{ij} = h_i^\top A h_j` reaches a map of d + 1 nodes in general position in R^d.

    u is their dependency, :math:`\sum_i u_i h_i = 0`. By Gordan's theorem the map is out of reach iff some w is, up to the
    sign of u_i, in the cone :math:`C_{\varphi(i)}` of every i, with :math:`C_m` spanned by :math:`h_m - h_j`. Two cones meet
    in 0 only, a cone and a mirrored one in the line :math:`h_m - h_{m'}`. So out of reach are the maps that send all nodes
    with u > 0 to one key and all with u < 0 to another; if u has one sign, the constant maps. Up to d nodes every map is in
    reach.
    """
    u = np.asarray(dependency, float)
    if u.shape != (len(mapping),) or not np.all(u):
        raise ValueError(f"dependency={dependency!r} needs one number per node, none of them 0")
    above = {m for m, x in zip(mapping, u, strict=True) if x > 0}
    below = {m for m, x in zip(mapping, u, strict=True) if x < 0}
    if not above or not below:
        return len(above | below) > 1
    return not (len(above) == len(below) == 1 and above != below)


def dot_product_maps_exact(n_nodes: int, one_sign: bool) -> int:
    """How many that are, n^n - n (n - 1), or n^n - n where the dependency has one sign."""
    check_count(at_least=2, n_nodes=n_nodes)
    return n_nodes**n_nodes - (n_nodes if one_sign else n_nodes * (n_nodes - 1))


def symmetric_reaches(mapping: Sequence[int]) -> bool:
    """Whether symmetric scores, those of GATv2 with W_l = W_r, reach a map: iff it has no cycle of three or more nodes.

    Along a cycle i -> j -> k -> ... each score exceeds the one before it, back to the first; a pair i -> j -> i shares a score.
    """
    for start in range(len(mapping)):
        node, seen = start, []
        while node not in seen:
            seen.append(node)
            node = mapping[node]
        if len(seen) - seen.index(node) > 2:
            return False
    return True


def symmetric_maps_exact(n_nodes: int) -> int:
    r"""How many that are: :math:`\sum_m \binom nm\, I(m)\, m\, n^{n - m - 1}`, I(m) the involutions of m nodes on cycles."""
    check_count(n_nodes=n_nodes)
    n, involutions = n_nodes, [1, 1]
    for m in range(2, n + 1):
        involutions.append(involutions[-1] + (m - 1) * involutions[-2])
    return sum(math.comb(n, m) * involutions[m] * m * n ** (n - m) // n for m in range(1, n + 1))
